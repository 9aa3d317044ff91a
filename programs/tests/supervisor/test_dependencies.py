"""Which program waits for which, and what stops first."""

from __future__ import annotations

from programs.states import Action
from programs.supervisor.platform import Exit

from .machine import FakeProcess
from .world import World

PROBE = {"kind": "tcp", "target": "127.0.0.1:80", "purpose": "readiness"}


def test_a_program_starts_once_what_it_requires_is_running(world: World) -> None:
    db = world.define("db", desired=False)
    web = world.define("web", desired=False)
    world.require(web, db)
    world.act(web, Action.START)
    world.advance()
    assert world.row(web)["reason"] == "waits for db to be started"
    world.act(db, Action.START)
    world.advance(2)
    assert (world.row(web)["state"], world.row(web)["reason"]) == ("running", "")
    types = [entry["event"]["type"] for entry in world.database.entries if entry["event"]]
    assert types.index("program.running") < len(types) - 1 - types[::-1].index("program.started")


def test_what_requires_a_healthy_program_waits_for_its_first_success(world: World) -> None:
    db = world.define("db", probes=[PROBE])
    web = world.define("web", desired=False)
    world.require(web, db, "healthy")
    world.act(web, Action.START)
    world.advance(2)
    assert world.row(db)["state"] == "running"
    assert world.row(web)["reason"] == "waits for db to be healthy"
    world.machine.probers[db.pk, 0].report("healthy")
    world.advance(2)
    assert world.row(web)["state"] == "running"


def test_every_instance_of_what_is_required_must_be_running(world: World) -> None:
    db = world.define("db", instances_min=2)
    web = world.define("web", desired=False)
    world.require(web, db)
    world.machine.launch_faults.clear()
    world.advance(2)
    world.machine.exits_at_once[db.pk] = Exit(code=1)
    world.exit(db, Exit(code=1), index=1)
    world.advance(0)
    world.act(web, Action.START)
    world.advance()
    assert world.row(web)["reason"] == "waits for db to be started"


def test_a_program_that_is_unknown_here_is_named_by_its_id(world: World) -> None:
    elsewhere = world.define("db", host=world.other_host)
    web = world.define("web", desired=False)
    world.require(web, elsewhere)
    world.act(web, Action.START)
    world.advance()
    assert world.row(web)["reason"] == f"waits for program {elsewhere.pk} to be started"


def test_stopping_all_programs_stops_dependents_first_and_keeps_the_desired_state(world: World) -> None:
    db = world.define("db")
    web = world.define("web", desired=False)
    world.require(web, db)
    world.act(web, Action.START)
    world.advance(3)
    world.loop.run_until_complete(world.agent.stop_programs())
    events = [(entry["process"], entry["event"]["type"]) for entry in world.database.entries if entry["event"]]
    stopped = [process for process, type_ in events if type_ == "program.stopped"]
    assert stopped == [[web.pk, 0], [db.pk, 0]]
    world.stop_agent()
    world.start_agent()
    world.advance(3)
    assert (world.row(db)["state"], world.row(web)["state"]) == ("running", "running")


def test_stopping_all_programs_starts_none_whose_delay_ends_meanwhile(world: World) -> None:
    slow = world.define("slow", stop_ladder=[{"step": "signal:TERM", "seconds": 30}])
    world.advance(2)
    world.live(slow).ignores.add(15)
    world.machine.exits_at_once[bad_id := world.define("bad", backoff_initial=5, max_restarts=0).pk] = Exit(code=1)
    world.advance(1)
    assert world.database.rows[bad_id, 0]["state"] == "backoff"
    world.machine.exits_at_once.clear()
    world.loop.run_until_complete(world.agent.stop_programs())
    assert world.machine.live() == []
    assert {row["state"] for row in world.database.rows.values()} == {"stopped"}


def test_a_slow_stop_delays_no_other_program(world: World) -> None:
    def ignore_sigterm(process: FakeProcess) -> None:
        process.ignores.add(15)

    world.machine.prepare = ignore_sigterm
    deaf = world.define("deaf")
    world.advance()
    world.machine.prepare = lambda process: None
    web = world.define("web")
    world.advance(2)
    for program in (deaf, web):
        world.act(program, Action.STOP)
    world.advance()
    assert (world.row(deaf)["state"], world.row(web)["state"]) == ("stopping", "stopped")
