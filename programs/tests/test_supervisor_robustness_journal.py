"""A database that cannot be read, and entries that come a second time."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

from core.tests.databases import locked_database, other_connection
from programs.models import ProgramEvent
from programs.states import Action

from .actors import PATIENCE, AgentBox, ask, define, kill, row, wait_event, wait_for, wait_state

SLEEP = "sleep 1000"
UNREADABLE = "agent.database_unavailable"


@contextlib.contextmanager
def unreadable(agent: AgentBox) -> Iterator[None]:
    """The wishes cannot be read; begins once the agent has noticed, twice."""
    told = agent.output.read_text().count(UNREADABLE)
    with other_connection() as other:
        other.rename("programs_intent", "away")
        try:
            wait_for(lambda: agent.output.read_text().count(UNREADABLE) > told + 1, agent)
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


def test_an_agent_that_cannot_read_the_database_stops_when_it_is_told_to(agent: AgentBox) -> None:
    program = define("web", SLEEP)
    pid = wait_state(program, "running").pid
    with unreadable(agent):
        begun = time.monotonic()
        assert agent.stop() == 0
        assert time.monotonic() - begun < PATIENCE
    agent.start()
    assert wait_event(program, "program.adopted").data["pid"] == pid


def test_a_journal_that_comes_a_second_time_changes_nothing(agent: AgentBox) -> None:
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
