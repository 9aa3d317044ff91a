"""Health under a real agent: what probes change while programs run, and what unreadable ones leave alone."""

from __future__ import annotations

from pathlib import Path

from programs import services
from programs.models import Process, Program, ProgramEvent
from programs.states import Action

from .actors import AgentBox, ask, define, kill, row, wait_event, wait_for, wait_state

SLEEP = "sleep 1000"
NOBODY_LISTENS = {"kind": "tcp", "target": "127.0.0.1:1", "purpose": "readiness", "period": 1, "failures": 1}


def test_an_unreadable_secret_hinders_no_other_program_at_the_agents_start(agent: AgentBox) -> None:
    secret = [{"name": "TOKEN", "value": "s3cret", "secret": True}]
    probed = define("probed", SLEEP, environment=secret, probes=[{"kind": "exec", "target": "true"}])
    other = define("other", SLEEP)
    pid, other_pid = wait_state(probed, "running").pid, wait_state(other, "running").pid
    agent.kill()
    broken = [{"name": "TOKEN", "secret": True, "encrypted": "not what was written"}]
    Program.objects.filter(pk=probed.pk).update(environment=broken)
    agent.start()
    event = ProgramEvent.objects.filter(program=probed, type="program.unhealthy")
    assert "cannot be probed" in wait_for(event.first, agent).data["detail"]
    kill(other_pid)
    wait_event(other, "program.restarted")
    assert (row(probed).state, row(probed).pid) == ("running", pid)


def test_the_memory_of_an_idle_program_is_shown_in_each_of_its_lives(agent: AgentBox) -> None:
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


def test_what_needs_a_healthy_program_waits_for_the_first_success(agent: AgentBox, tmp_path: Path) -> None:
    probe = {"kind": "exec", "target": f"test -e {tmp_path}/up", "period": 1, "failures": 1000}
    db = define("db", SLEEP, probes=[probe])
    web = define("web", SLEEP, depends_on=[{"program": "db", "condition": "healthy"}])
    wait_state(db, "running")
    waiting = Process.objects.filter(program=web, state="stopped", reason="waits for db to be healthy")
    wait_for(waiting.first, "the reason to be told")
    (tmp_path / "up").touch()
    wait_state(web, "running")
    healthy, started = wait_event(db, "program.healthy"), wait_event(web, "program.started")
    assert healthy.seq < started.seq


def test_a_failing_liveness_probe_counts_as_a_crash(agent: AgentBox) -> None:
    probe = {"kind": "exec", "target": "false", "purpose": "liveness", "period": 1, "failures": 1}
    program = define("sick", SLEEP, probes=[probe], backoff_initial=0.2, max_restarts=2)
    assert "gave up after 2 restarts" in wait_state(program, "fatal").reason
    events = ProgramEvent.objects.filter(program=program)
    crashed = events.filter(type="program.crashed")
    assert all(event.data["meaning"].startswith("unhealthy: exec false") for event in crashed)
    assert (crashed.count(), events.filter(type="program.backoff").count()) == (3, 1)
    assert agent.survivors() == []


def test_probes_taken_away_take_their_verdict_along(agent: AgentBox) -> None:
    program = define("web", SLEEP, probes=[NOBODY_LISTENS])
    wait_event(program, "program.unhealthy")
    services.save_definition({"probes": []}, actor="tester", program=Program.objects.get(pk=program.pk))
    wait_for(lambda: row(program).health == "", "the verdict to be forgotten")


def test_no_event_shows_a_secret_that_a_probe_prints(agent: AgentBox) -> None:
    key = "-----BEGIN KEY-----\nMIIEvQIBADANBg\nkqhkiG9w0BAQEF=="
    secret = [{"name": "KEY", "value": key, "secret": True}]
    probe = {"kind": "exec", "target": "sh -c 'echo \"$KEY\"; exit 1'", "failures": 1, "timeout": 30}
    program = define("web", SLEEP, environment=secret, probes=[probe])
    stopping = wait_event(program, "program.stopping")
    told = [*ProgramEvent.objects.filter(program=program).values_list("data", flat=True), row(program).reason]
    assert "exit code 1" in stopping.data["why"]
    assert not [text for text in map(str, told) if "MII" in text or "kqhk" in text]


def test_a_secret_that_looks_like_a_placeholder_is_passed_on_unchanged(agent: AgentBox) -> None:
    secret = [{"name": "TOKEN", "value": "{instance+x} {instance}", "secret": True}]
    program = define("web", 'echo "$TOKEN" > "$OUT"; sleep 1000', shell=True, autostart=False)
    out = agent.folder / "out"
    environment = [*secret, {"name": "OUT", "value": str(out) + "{instance}"}]
    services.save_definition({"environment": environment}, actor="tester", program=program)
    ask(program, Action.START)
    wait_state(program, "running")
    assert (agent.folder / "out0").read_text() == "{instance+x} {instance}\n"
