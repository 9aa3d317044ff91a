"""What needs a kernel and a database: exits, process trees, consoles, incidents, and the journal's file."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path

from core.secrets import MASK
from core.tests.databases import locked_database, other_connection
from programs import services
from programs.models import Incident, Process, Program, ProgramEvent
from programs.states import Action

from .actors import PATIENCE, AgentBox, ask, define, is_running, kill, row, wait_event, wait_for, wait_state

SLEEP = "sleep 1000"
UNREADABLE = "agent.database_unavailable"
NOBODY_LISTENS = {"kind": "tcp", "target": "127.0.0.1:1", "purpose": "readiness", "period": 1, "failures": 1}


def test_a_new_program_is_started_and_then_running(agent: AgentBox) -> None:
    program = define("web", SLEEP)
    process = wait_state(program, "running")
    assert is_running(process.pid)
    types = list(ProgramEvent.objects.filter(program=program).order_by("seq").values_list("type", flat=True))
    assert types == ["program.created", "program.started", "program.running"]
    assert len(agent.marker) == 16  # made before the first start needs it


def test_a_killed_program_has_a_successor_at_once(agent: AgentBox) -> None:
    program = define("web", SLEEP)
    pid = wait_state(program, "running").pid
    kill(pid)
    data = wait_event(program, "program.crashed").data
    assert data["exit_signal"] == "SIGKILL"
    assert wait_state(program, "running").pid != pid
    assert row(program).restarts == 1


def test_a_crash_leaves_an_incident_with_its_last_log_lines(agent: AgentBox) -> None:
    program = define("bad", "echo good bye; exit 9", shell=True, restart_policy="never")
    wait_state(program, "exited")
    incident = Incident.objects.get(program=program)
    assert (incident.exit_code, incident.log_lines) == (9, ["good bye"])
    assert incident.meaning


def test_a_program_with_a_console_is_stopped_by_a_line_of_text(agent: AgentBox) -> None:
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


def test_neither_events_nor_reasons_show_a_secret_that_a_probe_prints(agent: AgentBox) -> None:
    key = "-----BEGIN KEY-----\nMIIEvQIBADANBg\nkqhkiG9w0BAQEF=="
    secret = [{"name": "KEY", "value": key, "secret": True}]
    probe = {"kind": "exec", "target": "sh -c 'echo \"$KEY\"; exit 1'", "failures": 1, "timeout": 30}
    program = define("web", SLEEP, environment=secret, probes=[probe])
    stopping = wait_event(program, "program.stopping")
    texts = [*ProgramEvent.objects.filter(program=program).values_list("data", flat=True), row(program).reason]
    assert "exit code 1" in stopping.data["why"]
    assert not [text for text in map(str, texts) if "MII" in text or "kqhk" in text]


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


def test_what_a_crashed_program_leaves_behind_is_killed(agent: AgentBox, tmp_path: Path) -> None:
    program = define("family", f"{sys.executable} {family(tmp_path)}", restart_policy="never", start_seconds=0.5)
    pid = wait_state(program, "running").pid
    wait_for(lambda: len(agent.survivors()) == 3)
    kill(pid)
    wait_state(program, "exited")
    wait_for(lambda: not agent.survivors(), "the leftovers to be gone")


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


def test_a_marker_file_that_others_can_read_is_refused_at_the_start(box: AgentBox) -> None:
    (box.folder / "installation").write_text("0123456789abcdef")
    (box.folder / "installation").chmod(0o644)
    box.start(wait=False)
    assert box.process is not None
    assert box.process.wait(timeout=PATIENCE) == 1
    assert "Cannot create or read the marker" in repr(box) and "run: chmod 600" in repr(box)


def test_the_memory_of_an_idle_program_is_shown_in_each_of_its_runs(agent: AgentBox) -> None:
    program = define("web", SLEEP)
    pid = wait_state(program, "running").pid
    shown = Process.objects.filter(program=program, state="running", memory_bytes__gt=0)
    wait_for(shown.first, "its memory")
    ask(program, Action.RESTART)
    wait_for(shown.exclude(pid=pid).first, "the memory of its successor")


def test_probes_saved_while_a_program_runs_apply_at_once(agent: AgentBox) -> None:
    program = define("web", SLEEP)
    pid = wait_state(program, "running").pid
    saved = services.save_definition({"probes": [NOBODY_LISTENS]}, actor="tester", program=program)
    assert saved.applies == {"probes": "live"}
    assert "127.0.0.1:1" in wait_event(program, "program.unhealthy").data["detail"]
    assert (row(program).pid, row(program).health) == (pid, "unhealthy")


def test_removing_a_program_removes_its_console(agent: AgentBox) -> None:
    program = define("game", "cat", stdin="console")
    wait_state(program, "running")
    consoles = agent.folder / "run" / "console"
    assert [path.name for path in consoles.iterdir()] == [f"{program.pk}-0"]
    services.remove(program, actor="tester")
    wait_for(lambda: not Program.everything.filter(pk=program.pk).exists(), "the program to be removed")
    assert list(consoles.iterdir()) == []


@contextlib.contextmanager
def unreadable(agent: AgentBox) -> Iterator[None]:
    """The desired state cannot be read; begins once the agent has noticed twice."""
    reported = agent.output.read_text().count(UNREADABLE)
    with other_connection() as other:
        other.rename("programs_intent", "away")
        try:
            wait_for(lambda: agent.output.read_text().count(UNREADABLE) > reported + 1, agent)
            yield
        finally:
            other.rename("away", "programs_intent")


def test_a_database_that_cannot_be_read_for_a_while_does_not_end_the_agent(agent: AgentBox) -> None:
    program = define("web", SLEEP)
    pid = wait_state(program, "running").pid
    with unreadable(agent):
        kill(pid)
        wait_event(program, "program.restarted")
    assert agent.process is not None
    assert agent.process.poll() is None
    ask(program, Action.STOP)
    wait_state(program, "stopped")


def test_a_journal_that_is_replayed_a_second_time_changes_nothing(agent: AgentBox) -> None:
    """As if the agent had died after the database took the entries and before the file was emptied."""
    program = define("web", SLEEP)
    pid = wait_state(program, "running").pid
    journal = agent.folder / "run" / "journal"
    with locked_database():
        kill(pid)
        wait_for(lambda: b"program.restarted" in journal.read_bytes(), "the entries")
        written = journal.read_bytes()
    wait_event(program, "program.running", 2)
    ask(program, Action.STOP)
    wait_state(program, "stopped")
    wait_for(lambda: not journal.read_bytes(), "the journal to be empty")
    agent.kill()
    events = list(ProgramEvent.objects.filter(program=program).order_by("seq").values("seq", "type", "data"))
    journal.write_bytes(written)
    agent.start()
    assert (
        list(ProgramEvent.objects.filter(program=program).order_by("seq").values("seq", "type", "data")) == events
    )
    assert (row(program).state, row(program).pid) == ("stopped", None)
    assert agent.survivors() == []
