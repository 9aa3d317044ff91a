"""Stops at awkward moments and by unusual steps, and the timetable of restarts."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from programs import services
from programs.models import Process, Program
from programs.states import Action
from programs.supervisor.cron import CronSchedule

from .actors import AgentBox, ask, define, is_running, wait_event, wait_for, wait_state

SLEEP = "sleep 1000"


def test_kill_works_while_a_program_is_starting(agent: AgentBox) -> None:
    program = define("slow", SLEEP, start_seconds=600)
    pid = wait_state(program, "starting").pid
    ask(program, Action.KILL)
    wait_state(program, "stopped")
    data = wait_event(program, "program.stopped").data
    assert (data["step"], data["exit_signal"]) == ("signal:KILL", "SIGKILL")
    assert not is_running(pid)


def test_kill_ends_the_waiting_of_a_program_in_backoff(agent: AgentBox) -> None:
    program = define("bad", "sh -c 'exit 1'", backoff_initial=300)
    wait_state(program, "backoff")
    ask(program, Action.KILL)
    wait_state(program, "stopped")
    assert wait_event(program, "program.stopped").data == {"was": "backoff"}


def test_a_stop_step_that_fails_makes_room_for_the_next_at_once(agent: AgentBox) -> None:
    ladder = [{"step": "command:/no/such/command", "seconds": 60}, {"step": "signal:TERM", "seconds": 10}]
    program = define("web", SLEEP, stop_ladder=ladder)
    wait_state(program, "running")
    ask(program, Action.STOP)
    wait_state(program, "stopped")
    data = wait_event(program, "program.stopped").data
    assert data["step"] == "signal:TERM"
    assert "/no/such/command" in data["failed_steps"][0]
    assert data["seconds"] < 15


class Switch(ThreadingHTTPServer):
    """A real web server that makes the file `bye` when it is posted to, and notes where."""

    def __init__(self, bye: Path) -> None:
        super().__init__(("127.0.0.1", 0), SwitchHandler)
        self.bye = bye
        self.paths: list[str] = []


class SwitchHandler(BaseHTTPRequestHandler):
    server: Switch

    def do_POST(self) -> None:
        self.server.paths.append(self.path)
        self.server.bye.touch()
        self.send_response(204)
        self.end_headers()

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Says nothing."""


@pytest.fixture
def switch(tmp_path: Path) -> Iterator[Switch]:
    server = Switch(tmp_path / "bye")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_program_can_be_asked_over_http_to_stop(agent: AgentBox, switch: Switch) -> None:
    step = f"http:http://127.0.0.1:{switch.server_port}/stop/{{instance+7}}"
    waits = f"until [ -e {switch.bye} ]; do sleep 0.05; done"
    program = define("web", waits, shell=True, stop_ladder=[{"step": step, "seconds": 15}])
    wait_state(program, "running")
    ask(program, Action.STOP)
    wait_state(program, "stopped")
    data = wait_event(program, "program.stopped").data
    assert (data["step"], data["exit_code"], data["failed_steps"]) == (step, 0, [])
    assert switch.paths == ["/stop/7"]


def test_stopping_all_programs_leaves_none_of_those_that_wait_to_be_started_again(box: AgentBox) -> None:
    """Their delays end while a slow program is being stopped."""
    box.start("--stop-programs")
    slow = define("slow", "trap 'sleep 1; exit 0' TERM; while :; do sleep 0.05; done", shell=True)
    wait_state(slow, "running")
    crash = f"test -e {box.folder}/mended && exec sleep 1000; exit 1"
    fields = {"shell": True, "backoff_initial": 0.5, "backoff_factor": 1, "max_restarts": 0}
    programs = [define(f"bad{number}", crash, **fields) for number in range(8)]
    for program in programs:
        wait_event(program, "program.backoff")
    (box.folder / "mended").touch()
    assert box.stop() == 0
    assert box.survivors() == []
    assert set(Process.objects.values_list("state", flat=True)) == {"stopped"}


def test_the_console_of_a_program_goes_with_it(agent: AgentBox) -> None:
    program = define("game", "cat", stdin="console")
    wait_state(program, "running")
    consoles = agent.folder / "run" / "console"
    assert [path.name for path in consoles.iterdir()] == [f"{program.pk}-0"]
    services.remove(program, actor="tester")
    wait_for(lambda: not Program.everything.filter(pk=program.pk).exists(), "the program to be removed")
    assert list(consoles.iterdir()) == []


# --- The timetable --------------------------------------------------------------------------------------

NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)


def fired(timetable: CronSchedule, *seconds: float) -> list[float]:
    """Which of these looks, in seconds after noon, found the program 1 due."""
    return [second for second in seconds if list(timetable.due(NOON + timedelta(seconds=second))) == [1]]


def timetable(cron: str) -> CronSchedule:
    found = CronSchedule()
    found.set(1, cron)
    return found


def test_a_timetable_fires_once_for_each_moment() -> None:
    assert fired(timetable("* * * * *"), 30, 59.9, 60, 60.5, 119, 120.2, 121) == [60, 120.2]


def test_a_clock_set_forward_fires_once_for_all_moments_jumped_over() -> None:
    assert fired(timetable("* * * * *"), 30, 7200, 7201, 7259, 7260) == [7200, 7260]


def test_a_clock_set_back_moves_the_moments_too() -> None:
    assert fired(timetable("0 * * * *"), 1800, -5400, -3601, -3600, -3599, 0) == [-3600, 0]


@pytest.mark.parametrize(
    ("cron", "day", "moments"),
    [
        ("0 4 * * *", datetime(2030, 3, 30, 12, tzinfo=UTC), ["03-31 02:00", "04-01 02:00"]),
        ("0 4 * * *", datetime(2030, 10, 26, 12, tzinfo=UTC), ["10-27 03:00", "10-28 03:00"]),
        ("30 2 * * *", datetime(2030, 10, 26, 12, tzinfo=UTC), ["10-27 00:30", "10-28 01:30"]),
    ],
)
def test_a_moment_is_one_of_the_wall_clock_also_when_it_is_changed(
    cron: str, day: datetime, moments: list[str]
) -> None:
    plan, berlin = timetable(cron), ZoneInfo("Europe/Berlin")
    looks = [day + timedelta(minutes=10 * number) for number in range(6 * 40)]
    found = [look for look in looks if list(plan.due(look.astimezone(berlin)))]
    assert [f"{look:%m-%d %H:%M}" for look in found] == moments


def test_a_clock_that_is_nudged_back_fires_no_moment_twice() -> None:
    assert fired(timetable("* * * * *"), 30, 60.2, 59.9, 60.1, 120) == [60.2, 120]


def test_a_new_expression_replaces_the_old_and_an_empty_one_forgets() -> None:
    plan = timetable("* * * * *")
    assert fired(plan, 30) == []
    plan.set(1, "0 * * * *")
    assert fired(plan, 60, 3600) == [3600]
    plan.set(1, "")
    assert fired(plan, 7200, 10_800) == []
