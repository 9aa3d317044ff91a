"""What strangers, odd environments and unlucky moments do to the supervisor: nothing, or something it tells."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from django.core.exceptions import ValidationError

from programs import services
from programs.models import Host, Process, Program, ProgramEvent
from programs.states import Action

from .actors import PATIENCE, AgentBox, ask, define, is_running, kill, row, wait_event, wait_for, wait_state

SLEEP = "sleep 1000"
FAILS = "sh -c 'exit 1'"


def holds(look: Callable[[], object], seconds: float = 0.8) -> bool:
    """Whether `look` gives something true all the time, for so long."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if not look():
            return False
        time.sleep(0.02)
    return True


@contextlib.contextmanager
def strangers(environments: list[dict[Any, Any]], command: str = SLEEP) -> Iterator[list[psutil.Popen]]:
    """Session leaders that no agent started, one for each environment."""
    started = [
        psutil.Popen(["sh", "-c", command], env={"PATH": "/usr/bin:/bin", **environment}, start_new_session=True)
        for environment in environments
    ]
    yield started
    for process in started:
        if process.poll() is None:
            process.kill()
            process.wait()


# --- Strangers, and monitors beside and inside each other -----------------------------------------------


def test_an_agent_under_another_host_name_kills_nothing(box: AgentBox) -> None:
    box.start(HOST_NAME="a")
    program = define("web", SLEEP)
    pid = wait_state(program, "running").pid
    box.kill()
    box.start(HOST_NAME="b")
    wait_for(lambda: "leaves_process_of_another_host" in box.output.read_text(), box)
    assert holds(lambda: is_running(pid))
    box.kill()
    box.start(HOST_NAME="a")
    assert wait_event(program, "program.adopted").data["pid"] == pid


def test_an_agent_that_has_started_has_its_mark_before_it_needs_it(agent: AgentBox) -> None:
    assert len(agent.marker) == 16


def test_a_mark_that_cannot_be_used_is_told_at_the_start(box: AgentBox) -> None:
    (box.folder / "installation").write_text("0123456789abcdef")
    (box.folder / "installation").chmod(0o644)
    box.start(wait=False)
    assert box.process is not None
    assert box.process.wait(timeout=PATIENCE) == 1
    assert "cannot be used" in repr(box) and "run: chmod 600" in repr(box)


def test_malformed_marks_of_strangers_do_not_keep_the_agent_from_starting(agent: AgentBox) -> None:
    agent.kill()
    ours = agent.marker
    marks: list[str | bytes] = [
        "",
        ours,
        f"{ours}/x/0/abc",
        f"{ours}/1/{2**40}/a",
        f"{ours}/{10**30}/0/a",
        b"\xff/1",
    ]
    with strangers(
        [{b"PROGRAM_MONITOR" if isinstance(mark, bytes) else "PROGRAM_MONITOR": mark} for mark in marks]
    ) as all_of_them:
        agent.start()
        wait_state(define("web", SLEEP), "running")
        assert all(process.poll() is None for process in all_of_them)


def test_an_agent_that_inherits_the_mark_of_a_program_is_not_part_of_it(box: AgentBox) -> None:
    """As when somebody starts the monitor from a shell that is a program of it."""
    box.start()
    shell = define("shell", SLEEP)
    mark = wait_state(shell, "running").marker
    box.stop()
    box.start(PROGRAM_MONITOR=mark)
    other = define("other", SLEEP)
    pid = wait_state(other, "running").pid
    ask(shell, Action.STOP)
    wait_state(shell, "stopped")
    assert holds(lambda: box.process and box.process.poll() is None)
    assert is_running(pid)


def test_a_daemon_whose_session_has_the_number_of_a_dead_program_is_not_killed(agent: AgentBox) -> None:
    program = define("web", SLEEP)
    pid = wait_state(program, "running").pid
    agent.kill()
    kill(pid)
    shell = subprocess.run(
        ["sh", "-c", "sleep 1000 > /dev/null & echo $$ $!"],
        start_new_session=True,
        stdout=subprocess.PIPE,
        check=True,
    )
    session, daemon = map(int, shell.stdout.split())
    assert not psutil.pid_exists(session)
    Process.objects.filter(program=program).update(pid=session)
    agent.start()
    try:
        wait_event(program, "program.crashed")
        wait_state(program, "running")
        assert holds(lambda: is_running(daemon))
    finally:
        kill(daemon)


def test_a_second_copy_that_is_ended_takes_its_children_along(agent: AgentBox) -> None:
    program = define("web", SLEEP)
    pid = wait_state(program, "running").pid
    agent.kill()
    mark = f"{agent.marker}/{program.pk}/0/copy"
    with strangers([{"PROGRAM_MONITOR": mark}], "sleep 1000 & sleep 1001 & wait") as (copy,):
        wait_for(lambda: len(agent.survivors()) == 4, "the copy to be complete")
        agent.start()
        wait_for(lambda: copy.poll() is not None, "the copy to end")
        wait_for(lambda: [process.pid for process in agent.survivors()] == [pid], "its children to end")


# --- Starts that fail -----------------------------------------------------------------------------------


@pytest.fixture
def busy(tmp_path: Path) -> Iterator[tuple[Path, Callable[[], None]]]:
    """A program somebody is still writing to, so that the kernel will not run it (ETXTBSY); and its release."""
    path = tmp_path / "busy-sleep"
    shutil.copy(str(shutil.which("sleep")), path)
    with path.open("ab") as writer:
        yield path, writer.close


def test_an_environment_that_is_too_large_is_a_lasting_failure(agent: AgentBox) -> None:
    program = define("big", SLEEP, environment=[{"name": "A", "value": "x" * 200_000}], restart_policy="always")
    assert "Argument list too long" in wait_state(program, "fatal").reason
    assert not ProgramEvent.objects.filter(program=program, type="program.backoff").exists()


def test_a_program_that_is_never_restarted_is_fatal_when_it_cannot_be_started(agent: AgentBox, busy: Any) -> None:
    path, _ = busy
    program = define("busy", f"{path} 1000", restart_policy="never")
    assert "Text file busy" in wait_state(program, "fatal").reason


def test_a_passing_failure_to_start_backs_off_although_it_is_the_first(agent: AgentBox, busy: Any) -> None:
    path, _ = busy
    program = define("busy", f"{path} 1000", restart_policy="on-failure", backoff_initial=300)
    assert "Text file busy" in wait_event(program, "program.crashed").data["meaning"]
    assert wait_event(program, "program.backoff").data["delay_seconds"] == 0.5
    assert not ProgramEvent.objects.filter(program=program, type="program.fatal").exists()


def test_a_passing_failure_to_start_is_tried_again_until_it_has_passed(agent: AgentBox, busy: Any) -> None:
    path, release = busy
    program = define("busy", f"{path} 1000", backoff_initial=0.2, backoff_max=0.3, max_restarts=0)
    assert "Text file busy" in wait_state(program, "backoff").reason
    wait_event(program, "program.backoff", 2)
    release()
    wait_state(program, "running")


def test_a_log_folder_replaced_by_a_file_does_not_keep_a_crashed_program_down(agent: AgentBox) -> None:
    program = define("web", SLEEP)
    pid = wait_state(program, "running").pid
    logs = agent.folder / "logs" / str(program.pk)
    shutil.rmtree(logs)
    logs.write_text("in the way")
    kill(pid)
    wait_event(program, "program.running", 2)
    assert row(program).pid != pid


def test_a_start_asked_for_while_the_machine_was_down_is_carried_out(box: AgentBox) -> None:
    program = define("web", SLEEP, autostart=False)
    Process.objects.create(program=program, index=0, state="stopped", kernel_start=5, boot_id="before")
    ask(program, Action.START)
    box.start()
    wait_state(program, "running")
    assert Program.objects.get(pk=program.pk).desired_state == "running"


# --- Definitions ----------------------------------------------------------------------------------------


def test_a_form_opened_before_a_stop_does_not_undo_it(agent: AgentBox) -> None:
    program = define("web", SLEEP)
    wait_state(program, "running")
    opened = Program.objects.get(pk=program.pk)
    ask(program, Action.STOP)
    wait_state(program, "stopped")
    services.save_definition({"description": "the shop"}, actor="bob", program=opened)
    assert holds(lambda: row(program).state == "stopped")
    assert Program.objects.get(pk=program.pk).desired_state == "stopped"


def test_a_running_program_moves_to_no_other_host(agent: AgentBox) -> None:
    Host.objects.create(name="elsewhere")
    program = define("web", SLEEP)
    pid = wait_state(program, "running").pid
    with pytest.raises(ValidationError, match="Stop it first"):
        services.save_definition({"host": "elsewhere"}, actor="bob", program=Program.objects.get(pk=program.pk))
    assert is_running(pid)
    ask(program, Action.STOP)
    wait_state(program, "stopped")
    saved = services.save_definition(
        {"host": "elsewhere"}, actor="bob", program=Program.objects.get(pk=program.pk)
    )
    assert saved.program.host is not None


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("stop_ladder", [{"step": "command:say {instances}", "seconds": 1}]),
        ("stop_ladder", [{"step": "http:http://127.0.0.1:{instance+x}/", "seconds": 1}]),
        ("probes", [{"kind": "http", "target": "http://127.0.0.1/{instance +1}"}]),
        ("probes", [{"kind": "tcp", "target": "127.0.0.1:{instance+}"}]),
        ("probes", [{"kind": "exec", "target": "check {instance"}]),
    ],
)
def test_a_misspelt_placeholder_is_refused_when_it_is_saved(field: str, value: list[dict[str, Any]]) -> None:
    with pytest.raises(ValidationError) as refusal:
        define("web", SLEEP, **{field: value})
    assert "isn't a placeholder" in refusal.value.message_dict[field][0]
