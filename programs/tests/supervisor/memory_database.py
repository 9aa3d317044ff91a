"""The agent's database and journal in memory. The journal checks each entry against the ones before."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Collection, Iterator
from datetime import datetime
from typing import Any, NamedTuple

from django.utils.dateparse import parse_datetime

from programs.models import Intent, Process, Program
from programs.states import ALIVE, TRANSITIONS, State
from programs.supervisor.desired_state import Dependencies, DesiredState
from programs.supervisor.journal import DATETIME_COLUMNS, Entry, ProcessKey
from programs.supervisor.ports import Context
from programs.supervisor.wiring import build_context

NEW_ROW: dict[str, Any] = {
    "state": "stopped",
    "pid": None,
    "kernel_start": None,
    "boot_id": "",
    "marker": "",
    "reason": "",
    "restarts": 0,
    "recent_restarts": [],
    "health": "",
    "exit_code": None,
    "exit_signal": None,
    "next_start_at": None,
}


class MemoryDatabase:
    """What people save (programs, intents) and what the agent writes (rows, entries)."""

    def __init__(self, host_id: int) -> None:
        self.host_id = host_id  # of the host whose agent reads
        self.fault: Exception | None = None  # of every read
        self.revision = 0
        self.programs: dict[int, Program] = {}
        self.intents: dict[int, Intent] = {}
        self.dependencies: Dependencies = {}
        self.rows: dict[ProcessKey, dict[str, Any]] = {}
        self.entries: list[dict[str, Any]] = []

    def save(self, program: Program) -> None:
        self.revision += 1
        program.revision = self.revision
        self.programs[program.pk] = program

    def add_intent(self, intent: Intent) -> None:
        self.revision += 1
        intent.revision = self.revision
        self.intents[intent.pk] = intent

    async def desired_state(self, since: int, handled: Collection[int] = ()) -> DesiredState:
        self._fail_if_faulty()
        local = (intent for intent in self.intents.values() if self._is_local(intent.program_id))
        intents = sorted(local, key=lambda intent: intent.pk)
        asked = {intent.program_id for intent in intents if intent.pk not in handled}
        changed = [p for p in self.programs.values() if p.revision > since or p.pk in asked]
        dependencies = self.dependencies if changed else None
        return DesiredState(self.revision, [copy.copy(p) for p in changed], intents, dependencies)

    async def process_rows(self) -> list[Process]:
        self._fail_if_faulty()
        return [self._row(key) for key in self.rows if key[0] in self.programs and self._is_local(key[0])]

    def _is_local(self, program_id: int) -> bool:
        return self.programs[program_id].host_id in (None, self.host_id)

    def _fail_if_faulty(self) -> None:
        if self.fault:
            raise self.fault

    def _row(self, key: ProcessKey) -> Process:
        values = {
            name: parse_datetime(value) if name in DATETIME_COLUMNS and value else value
            for name, value in self.rows[key].items()
        }
        return Process(program_id=key[0], index=key[1], **values)

    def close(self) -> None:
        """Nothing is open."""

    def apply(self, entry: dict[str, Any]) -> None:
        self.entries.append(entry)
        for intent in entry["intents"]:
            self.intents.pop(intent, None)
        key = tuple(entry["process"]) if entry["process"] else None
        if key is None:
            return
        if entry["values"]:
            self.rows.setdefault(key, dict(NEW_ROW)).update(entry["values"])
        program = self.programs.get(key[0])
        if program and entry["desired"]:
            program.desired_state = entry["desired"]
        if program and entry["instances"] is not None:
            program.desired_instances = entry["instances"]
        if entry["removed"]:
            self.rows.pop(key, None)
        if entry["removed"] == "program":
            assert program is not None and program.removed_at, "a program was removed that nobody removed"
            del self.programs[key[0]]

    def events(self, program_id: int) -> list[dict[str, Any]]:
        return [e["event"] for e in self.entries if e["process"] and e["process"][0] == program_id and e["event"]]


class MemoryJournal:
    """The journal of one agent. After the agent's death (`is_open` false) nothing may be written."""

    def __init__(self, database: MemoryDatabase, before_put: Callable[[], None] = lambda: None) -> None:
        self._database = database
        self._before_put = before_put
        self._number = 0
        self.is_open = True
        self.latest: dict[ProcessKey, dict[str, Any]] = {}
        self.stopped_at: datetime | None = None
        self.pending = 0
        self.is_writing = True

    def start(self) -> int:
        return 0

    def put(self, entry: Entry) -> None:
        if not self.is_open:
            return  # the garbage collector runs the last lines of a dead agent's coroutines
        self._before_put()
        self._number += 1
        entry.number = self._number
        self._database.apply(json.loads(json.dumps(vars(entry))))

    def put_latest(self, key: ProcessKey, values: dict[str, Any]) -> None:
        self.latest[key] = values

    def flush_latest(self) -> None:
        """They are in the database already."""

    def put_batch(self, write: Callable[[], None]) -> None:
        raise NotImplementedError("only apps above the supervisor write batches")

    put_last = put_batch

    def heartbeat(self, now: datetime) -> None:
        """Nobody watches."""

    def close(self, timeout: float, stopped_at: datetime | None = None) -> bool:
        self.stopped_at = stopped_at
        self.is_open = False
        return True


class Transition(NamedTuple):
    old: State
    new: State
    event: dict[str, Any] | None


def transitions(entries: list[dict[str, Any]], key: ProcessKey) -> Iterator[Transition]:
    """Every transition that the journal recorded for a process, in order; the first is from `stopped`."""
    state = State.STOPPED
    for entry in entries:
        if entry["process"] != list(key):
            continue
        if "state" in entry["values"]:
            old, state = state, State(entry["values"]["state"])
            yield Transition(old, state, entry["event"])
        if entry["removed"]:
            state = State.STOPPED


def assert_legal(transition: Transition) -> None:
    """An adopted process keeps its state, also while a stop is continued; a reboot makes every state `stopped`."""
    old, new, event = transition
    type_, why = (event["type"], event["data"].get("why")) if event else ("", None)
    is_adoption = type_ == "program.adopted" or why == "stop continued after the agent's restart"
    is_reboot = why == "the machine was restarted" and new is State.STOPPED
    assert is_adoption or is_reboot or new in TRANSITIONS[old], transition


def assert_each_run_ends_once(entries: list[dict[str, Any]], key: ProcessKey) -> None:
    """Between two starts of a process there is one exit, and there is no exit without a start."""
    is_alive = False
    for event in (entry["event"] for entry in entries if entry["event"] and entry["process"] == list(key)):
        type_, data = event["type"].removeprefix("program."), event["data"]
        if type_ in ("started", "restarted"):
            assert not is_alive, event
            is_alive = True
        elif type_ == "adopted":
            is_alive = True
        elif type_ in ("exited", "crashed", "stopped"):
            assert is_alive != _has_no_process(data), event
            is_alive = False


def _has_no_process(data: dict[str, Any]) -> bool:
    """Whether it is the end of a wait, or of a start that failed."""
    if "was" in data:
        return data["was"] not in ALIVE
    is_unknown = (data.get("exit_code"), data.get("exit_signal"), data.get("uptime_seconds")) == (None, None, 0)
    return is_unknown and "unseen" not in data


def real_context() -> Context:
    """That of production, for tests of one part on real processes; what they record is thrown away."""
    return build_context(MemoryJournal(MemoryDatabase(host_id=1)))
