"""The life of programs under a real agent: start, stop, restart, crash, limits."""

from __future__ import annotations

import socket
import sys
import time
from pathlib import Path

import psutil
import pytest

from core.secrets import MASK
from programs import services
from programs.models import Incident, Intent, Process, Program, ProgramEvent
from programs.states import Action

from .actors import AgentBox, ask, define, is_running, kill, row, wait_event, wait_for, wait_state

SLEEP = "sleep 1000"


def test_a_new_program_is_started_and_then_running(agent: AgentBox) -> None:
    program = define("web", SLEEP)
    process = wait_state(program, "running")
    assert is_running(process.pid)
    types = list(ProgramEvent.objects.filter(program=program).order_by("seq").values_list("type", flat=True))
    assert types == ["program.created", "program.started", "program.running"]


def test_without_autostart_it_waits_to_be_asked(agent: AgentBox) -> None:
    program = define("web", SLEEP, autostart=False)
    ask(program, Action.START)
    assert wait_event(program, "program.started").actor == "tester"


def test_a_stopped_program_is_gone_and_says_which_step_ended_it(agent: AgentBox) -> None:
    program = define("web", SLEEP)
    pid = wait_state(program, "running").pid
    ask(program, Action.STOP)
    wait_state(program, "stopped")
    assert not is_running(pid)
    data = wait_event(program, "program.stopped").data
    assert (data["step"], data["exit_signal"]) == ("signal:TERM", "SIGTERM")


def test_a_killed_program_has_a_successor_at_once(agent: AgentBox) -> None:
    program = define("web", SLEEP)
    pid = wait_state(program, "running").pid
    kill(pid)
    data = wait_event(program, "program.crashed").data
    assert data["exit_signal"] == "SIGKILL"
    assert wait_state(program, "running").pid != pid
    assert row(program).restarts == 1


def test_an_expected_exit_is_not_restarted(agent: AgentBox) -> None:
    program = define("job", "sh -c 'exit 0'")
    assert wait_state(program, "exited").exit_code == 0
    assert wait_event(program, "program.exited").severity == "info"


def test_own_success_codes_count_as_expected(agent: AgentBox) -> None:
    program = define("job", "sh -c 'exit 3'", success_exit_codes=[0, 3])
    assert wait_state(program, "exited").exit_code == 3


def test_a_crash_loop_backs_off_and_ends_fatal(agent: AgentBox) -> None:
    program = define("bad", "sh -c 'exit 7'", backoff_initial=0.05, backoff_max=0.1, max_restarts=3)
    process = wait_state(program, "fatal")
    assert "gave up after 3 restarts" in process.reason
    assert ProgramEvent.objects.filter(program=program, type="program.crashed").count() == 4
    delays = [event.data["delay_seconds"] for event in ProgramEvent.objects.filter(type="program.backoff")]
    assert len(delays) == 2


def test_start_brings_a_fatal_program_back_with_a_clean_slate(agent: AgentBox, tmp_path: Path) -> None:
    script = tmp_path / "late.sh"
    program = define("late", f"{script}")
    wait_state(program, "fatal")
    script.write_text("#!/bin/sh\nexec sleep 1000\n")
    script.chmod(0o755)
    ask(program, Action.START)
    wait_state(program, "running")


def test_a_crash_leaves_an_incident_with_its_last_words(agent: AgentBox) -> None:
    program = define("bad", "echo good bye; exit 9", shell=True, restart_policy="never")
    wait_state(program, "exited")
    incident = Incident.objects.get(program=program)
    assert (incident.exit_code, incident.log_lines) == (9, ["good bye"])
    assert incident.meaning


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        ("no-such-command-here", "command not found: no-such-command-here"),
        ("/etc/passwd", "/etc/passwd is not executable"),
        ("/no/such/file", "command not found: /no/such/file"),
    ],
)
def test_a_program_that_cannot_be_started_says_why(agent: AgentBox, command: str, reason: str) -> None:
    program = define("bad", command)
    assert reason in wait_state(program, "fatal").reason


def test_a_folder_that_went_missing_is_named(agent: AgentBox, tmp_path: Path) -> None:
    folder = tmp_path / "here"
    folder.mkdir()
    program = define("web", SLEEP, working_directory=str(folder), autostart=False)
    folder.rmdir()
    ask(program, Action.START)
    assert wait_state(program, "fatal").reason == f"there is no folder {folder}"


def test_a_user_that_went_missing_is_named(agent: AgentBox) -> None:
    program = define("web", SLEEP, autostart=False)
    Program.objects.filter(pk=program.pk).update(user="nobody-of-that-name")
    ask(program, Action.START)
    assert "there is no user nobody-of-that-name" in wait_state(program, "fatal").reason


def test_a_file_that_is_no_program_is_explained(agent: AgentBox, tmp_path: Path) -> None:
    script = tmp_path / "script"
    script.write_text("echo no first line\n")
    script.chmod(0o755)
    program = define("bad", str(script))
    assert "#!" in wait_state(program, "fatal").reason


def test_sigterm_ignored_means_sigkill_after_its_seconds(agent: AgentBox) -> None:
    stubborn = "trap '' TERM; echo deaf; while :; do sleep 0.1; done"
    program = define("deaf", stubborn, shell=True, stop_ladder=[{"step": "signal:TERM", "seconds": 0.3}])
    pid = wait_state(program, "running").pid
    ask(program, Action.STOP)
    wait_state(program, "stopped")
    assert wait_event(program, "program.stopped").data["step"] == "signal:KILL"
    assert not is_running(pid)


def test_the_ladder_climbs_step_by_step(agent: AgentBox) -> None:
    picky = "trap '' TERM; trap 'exit 0' INT; echo up; while :; do sleep 0.05; done"
    ladder = [{"step": "signal:TERM", "seconds": 0.3}, {"step": "signal:INT", "seconds": 5}]
    program = define("picky", picky, shell=True, stop_ladder=ladder)
    wait_state(program, "running")
    ask(program, Action.STOP)
    wait_state(program, "stopped")
    assert wait_event(program, "program.stopped").data["step"] == "signal:INT"


def test_a_console_program_can_be_asked_to_stop_in_its_own_words(agent: AgentBox) -> None:
    game = "while read line; do echo got $line; [ $line = quit ] && exit 0; done"
    ladder = [{"step": "stdin:quit", "seconds": 5}]
    program = define("game", game, shell=True, stdin="console", stop_ladder=ladder)
    wait_state(program, "running")
    services.send_input(program, "hello\n", actor="bob")
    assert wait_event(program, "program.input").data == {"text": "hello\n"}
    ask(program, Action.STOP)
    wait_state(program, "stopped")
    assert wait_event(program, "program.stopped").data["step"] == "stdin:quit"
    assert (agent.folder / "logs" / str(program.pk) / "0.log").read_text() == "got hello\ngot quit\n"


def test_neither_events_nor_reasons_show_a_secret_that_is_typed_or_quoted(agent: AgentBox) -> None:
    secret = [{"name": "TOKEN", "value": "hunter2-secret", "secret": True}]
    echo = define("echo", "cat", stdin="console", environment=secret)
    wait_state(echo, "running")
    services.send_input(echo, "login hunter2-secret\n", actor="bob")
    assert wait_event(echo, "program.input").data == {"text": f"login {MASK}\n"}
    broken = define("broken", "/nowhere/hunter2-secret", environment=secret)
    assert wait_state(broken, "fatal").reason == f"command not found: /nowhere/{MASK} (No such file or directory)"


def test_a_stop_command_gets_the_pid(agent: AgentBox) -> None:
    ladder = [{"step": "command:sh -c 'kill -INT $PROGRAM_PID'", "seconds": 5}]
    program = define("web", SLEEP, stop_ladder=ladder)
    wait_state(program, "running")
    ask(program, Action.STOP)
    wait_state(program, "stopped")
    assert wait_event(program, "program.stopped").data["exit_signal"] == "SIGINT"


def test_kill_works_while_stopping(agent: AgentBox) -> None:
    program = define("deaf", "trap '' TERM; while :; do sleep 0.1; done", shell=True)
    wait_state(program, "running")
    ask(program, Action.STOP)
    wait_state(program, "stopping")
    ask(program, Action.KILL)
    wait_state(program, "stopped")
    assert wait_event(program, "program.stopped").data["seconds"] < 5


FAMILY = """
import os, sys, time
if os.fork() == 0:
    os.setsid()                      # leaves session and group
    if os.fork() == 0:               # double fork: the parent link is gone too
        os.execvpe("sleep", ["sleep", "999"], os.environ)
    os._exit(0)
if os.fork() == 0:
    time.sleep(999)
print("ready", flush=True)
time.sleep(999)
"""


def family(folder: Path) -> Path:
    script = folder / "family.py"
    script.write_text(FAMILY)
    return script


def test_the_whole_tree_is_gone_after_a_stop(agent: AgentBox, tmp_path: Path) -> None:
    program = define("family", f"{sys.executable} {family(tmp_path)}", start_seconds=0.5)
    wait_state(program, "running")
    wait_for(lambda: len(agent.survivors()) == 3, "the family to be complete")
    ask(program, Action.STOP)
    wait_state(program, "stopped")
    assert agent.survivors() == []
    assert wait_event(program, "program.stopped").data["tree_killed"] <= 2


def test_what_a_crashed_program_leaves_behind_is_ended_too(agent: AgentBox, tmp_path: Path) -> None:
    program = define("family", f"{sys.executable} {family(tmp_path)}", restart_policy="never", start_seconds=0.5)
    pid = wait_state(program, "running").pid
    wait_for(lambda: len(agent.survivors()) == 3)
    kill(pid)
    wait_state(program, "exited")
    wait_for(lambda: not agent.survivors(), "the leftovers to be gone")


def test_a_restart_gives_one_new_process(agent: AgentBox) -> None:
    program = define("web", SLEEP)
    pid = wait_state(program, "running").pid
    ask(program, Action.RESTART)
    ask(program, Action.RESTART)
    wait_event(program, "program.restarted")
    wait_for(lambda: not Intent.objects.exists() and row(program).state == "running")
    assert row(program).pid != pid
    assert len(agent.survivors()) == 1


def test_a_slow_stop_delays_no_other_program(agent: AgentBox) -> None:
    deaf = define("deaf", "trap '' TERM; while :; do sleep 0.1; done", shell=True)
    web = define("web", SLEEP)
    wait_state(deaf, "running")
    wait_state(web, "running")
    ask(deaf, Action.STOP)
    ask(web, Action.STOP)
    wait_state(web, "stopped")
    assert row(deaf).state == "stopping"


def test_instances_get_their_number(agent: AgentBox) -> None:
    program = define("pool", "sh -c 'echo number {instance+8100} $N; exec sleep 1000'", instances_min=2,
                     instances_max=4, environment=[{"name": "N", "value": "i{instance}"}])  # fmt: skip
    wait_state(program, "running", 0)
    wait_state(program, "running", 1)
    log = agent.folder / "logs" / str(program.pk) / "1.log"
    assert log.read_text() == "number 8101 i1\n"


def test_scaling_adds_and_takes_away_instances(agent: AgentBox) -> None:
    program = define("pool", SLEEP, instances_min=1, instances_max=3)
    wait_state(program, "running", 0)
    services.scale(program, 3, actor="tester")
    wait_state(program, "running", 2)
    services.scale(program, 1, actor="tester")
    wait_for(lambda: program.processes.count() == 1, "two instances to leave")
    assert len(agent.survivors()) == 1


def test_load_above_the_target_adds_instances_up_to_the_maximum(agent: AgentBox) -> None:
    program = define("busy", "while :; do :; done", shell=True, instances_max=2, scale_cpu_percent=10)
    wait_for(lambda: Program.objects.get(pk=program.pk).desired_instances == 2, agent, 60)
    wait_state(program, "running", 1)
    assert wait_event(program, "program.scaled").data == {"from": 1, "to": 2, "why": "CPU"}


def test_a_program_waits_for_what_it_needs(agent: AgentBox) -> None:
    db = define("db", SLEEP, autostart=False)
    web = define("web", SLEEP, depends_on=[{"program": "db"}])
    wait_for(lambda: Process.objects.filter(program=web, reason__contains="waits for db").exists())
    ask(db, Action.START)
    wait_state(web, "running")
    started = {e.program_name: e.seq for e in ProgramEvent.objects.filter(type="program.running")}
    assert started["db"] < started["web"]


def test_too_much_memory_restarts_it(agent: AgentBox) -> None:
    hungry = f'{sys.executable} -c "x = bytearray(80_000_000); import time; time.sleep(999)"'
    program = define("hungry", hungry, max_memory_bytes=40_000_000)
    assert "of memory" in wait_event(program, "program.stopping").data["why"]
    wait_event(program, "program.restarted")


def test_the_environment_is_a_small_base_and_what_was_defined(agent: AgentBox) -> None:
    secret = [{"name": "TOKEN", "value": "s3cret", "secret": True}]
    program = define("env", "sh -c 'env; sleep 1000'", environment=secret)
    wait_state(program, "running")
    log = agent.folder / "logs" / str(program.pk) / "0.log"
    lines = dict(line.split("=", 1) for line in wait_for(log.read_text).splitlines())
    assert lines["TOKEN"] == "s3cret"
    assert set(lines) <= {"PATH", "HOME", "USER", "LANG", "TZ", "SHELL", "PWD", "SHLVL", "_", "OLDPWD",
                          "TOKEN", "PROGRAM_MONITOR"}  # fmt: skip
    assert "s3cret" not in str(Program.objects.get(pk=program.pk).environment)


def test_umask_nice_limits_and_user_are_applied(agent: AgentBox) -> None:
    # The priority is set from outside, right after the start.
    say = "sh -c 'until [ $(nice) = 5 ]; do sleep 0.05; done; umask; nice; ulimit -n; id -un; pwd; sleep 1000'"
    program = define("who", say, umask="027", nice=5, max_open_files=77, user="nobody", working_directory="/usr")
    wait_state(program, "running")
    log = agent.folder / "logs" / str(program.pk) / "0.log"
    wait_for(lambda: len(log.read_text().split()) == 5, "what it says")
    assert log.read_text().split() == ["0027", "5", "77", "nobody", "/usr"]


def test_a_removed_program_is_stopped_and_forgotten(agent: AgentBox) -> None:
    program = define("web", SLEEP)
    pid = wait_state(program, "running").pid
    services.remove(program, actor="tester")
    wait_for(lambda: not Program.everything.filter(pk=program.pk).exists(), "the program to be removed")
    assert not is_running(pid)
    assert ProgramEvent.objects.filter(type="program.removed", program_name="web").exists()


def test_a_description_changes_nothing_that_runs(agent: AgentBox) -> None:
    program = define("web", SLEEP)
    pid = wait_state(program, "running").pid
    saved = services.save_definition(
        {"description": "the shop", "command": "sleep 2000"}, actor="t", program=program
    )
    assert saved.applies == {"description": "live", "command": "restart"}
    time.sleep(0.3)
    assert row(program).pid == pid
    ask(program, Action.RESTART)
    wait_event(program, "program.restarted")
    assert psutil.Process(wait_state(program, "running").pid).cmdline() == ["sleep", "2000"]


def test_three_hundred_programs_survive_an_exit_storm(agent: AgentBox) -> None:
    program = define("storm", SLEEP, instances_min=300, instances_max=300, start_seconds=0)
    running = Process.objects.filter(program=program, state="running")
    wait_for(lambda: running.count() == 300, "300 to run", 60)
    pids = set(running.values_list("pid", flat=True))
    for pid in pids:
        kill(pid)
    wait_for(
        lambda: running.count() == 300 and not pids & set(running.values_list("pid", flat=True)), "all again", 60
    )
    assert len(agent.survivors()) == 300
    assert ProgramEvent.objects.filter(program=program, type="program.crashed").count() == 300


def test_a_port_that_is_taken_is_told_by_the_programs_last_words(agent: AgentBox) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        command = f"{sys.executable} -m http.server {port} --bind 127.0.0.1"
        program = define("web", command, max_restarts=1, backoff_initial=0.1, start_seconds=5)
        wait_state(program, "fatal")
    assert "Address already in use" in Incident.objects.filter(program=program)[0].log_lines[-1]
