"""The live status of programs, as the API, the feed and the commands show it.

Everything about all programs comes from one query. It is written in SQL because rows as plain tuples take a
third of the time that model instances take, and because a program and its processes must be seen at one moment.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from operator import itemgetter
from typing import Any

import orjson
from django.db import connection
from django.utils import timezone

from core.models import Sequence as Counter
from core.timeformat import in_utc, iso

from .hosts import is_alive
from .models import ProgramEvent
from .payloads import Changes, ProcessStatus, ProgramStatus, StatusReport
from .states import ALIVE, State, combined_state

PROGRAM_COLUMNS = ("id", "name", "desired_state", "desired_instances", "tags", "host_id", "revision")
PROCESS_COLUMNS = (
    "index", "state", "reason", "pid", "cpu_percent", "memory_bytes", "threads", "started_at", "next_start_at",
    "restarts", "exit_code", "exit_signal", "health", "revision",
)  # fmt: skip
WIDTH = len(PROGRAM_COLUMNS)
HOST, STARTED_AT = PROGRAM_COLUMNS.index("host_id"), WIDTH + PROCESS_COLUMNS.index("started_at")
COLUMNS = ", ".join([*(f"p.{name}" for name in PROGRAM_COLUMNS), *(f's."{name}"' for name in PROCESS_COLUMNS)])
QUERY = (
    f"SELECT {COLUMNS} FROM programs_program p "  # noqa: S608  (constants, no input)
    "LEFT JOIN programs_process s ON s.program_id = p.id "
    'WHERE p.removed_at IS NULL {condition} ORDER BY p.name, p.id, s."index"'
)
HOSTS = (
    "SELECT id, name, heartbeat_at, is_default, (SELECT value FROM core_sequence WHERE name = 'revision') "
    "FROM programs_host"
)
CHANGED_SINCE = (
    "AND p.id IN (SELECT id FROM programs_program WHERE revision > %s "
    "UNION SELECT program_id FROM programs_process WHERE revision > %s)"
)
LARGEST_ID = 2**63 - 1
# Further back than this, sending everything is cheaper than finding out what changed.
LONGEST_LOOK_BACK = 10_000
HEALTH_FIRST = ("unhealthy", "starting", "healthy")

Row = tuple[Any, ...]


@dataclass(frozen=True)
class HostState:
    """How far the installation has come and which hosts' agents answer, at one moment."""

    now: float  # Unix seconds
    revision: int
    names: Mapping[int, str]
    alive: Mapping[int, bool]
    default: int | None


def pulse(now: datetime | None = None) -> HostState:
    """One query; a second one only while no host is known."""
    at = now or timezone.now()
    rows = _rows(HOSTS)
    return HostState(
        now=at.timestamp(),
        revision=rows[0][4] or 0 if rows else Counter.current(),
        names={row[0]: row[1] for row in rows},
        alive={row[0]: is_alive(in_utc(row[2]) if row[2] else None, at) for row in rows},
        default=next((row[0] for row in rows if row[3]), None),
    )


# --- Reading --------------------------------------------------------------------------------------------


def every_program(seen: HostState) -> list[ProgramStatus]:
    """All programs by name. One query."""
    programs = list(_read(seen, "", ()))
    if len(_memory) > 2 * len(programs):
        _memory.clear()
    return programs


def changed_programs(seen: HostState, since: int) -> list[ProgramStatus]:
    """Those of which something was written after the revision `since`. One query."""
    return list(_read(seen, CHANGED_SINCE, (since, since)))


def chosen_programs(seen: HostState, ids: Sequence[int]) -> list[ProgramStatus]:
    """Those of a page. One query; none for none."""
    places = ", ".join(["%s"] * len(ids))
    return list(_read(seen, f"AND p.id IN ({places})", ids)) if ids else []


def one_program(program_id: int) -> ProgramStatus | None:
    """None when there is no such program."""
    if not 0 < program_id <= LARGEST_ID:
        return None
    return next(_read(pulse(), "AND p.id = %s", (program_id,)), None)


def is_present(program_id: int) -> bool:
    """Whether there is such a program. In SQL, as Django takes six times as long to ask."""
    present = "SELECT 1 FROM programs_program WHERE id = %s AND removed_at IS NULL"
    return 0 < program_id <= LARGEST_ID and bool(_rows(present, (program_id,)))


def _read(seen: HostState, condition: str, values: Sequence[Any]) -> Iterator[ProgramStatus]:
    for _, own in groupby(_rows(QUERY.format(condition=condition), values), itemgetter(0)):
        yield _remembered(list(own), seen)


def _rows(query: str, values: Sequence[Any] = ()) -> list[Row]:
    with connection.cursor() as cursor:
        cursor.execute(query, values)
        rows: list[Row] = cursor.fetchall()
    return rows


def report(since: int | None = None) -> StatusReport:
    """What changed after the revision `since`; everything without it, and when that can no longer be told.

    At most three queries, however many programs there are.
    """
    seen = pulse()
    fell_silent = silences.changed_after(since, seen)
    found = None if since is None or fell_silent else changes(since, seen)
    if found is None:
        return {"revision": seen.revision, "full": True, "programs": every_program(seen), "removed": []}
    return {"revision": seen.revision, "full": False, **found}


def report_as_json(since: int | None = None) -> bytes:
    """`report` in JSON. Several who ask for everything at the same moment get the same bytes.

    Whatever is written advances the revision, so an answer of the same revision is right but for the ages in it,
    and those are told in whole seconds: they may be a quarter of one late.
    """
    global _latest
    if since is not None:
        return orjson.dumps(report(since))
    seen = pulse()
    silences.changed_after(None, seen)
    key = (seen.revision, int(seen.now * 4), seen.names, seen.alive, seen.default)
    if _latest is None or _latest[0] != key:
        everything = {"revision": seen.revision, "full": True, "programs": every_program(seen), "removed": []}
        _latest = (key, orjson.dumps(everything))
    return _latest[1]


_latest: tuple[tuple[Any, ...], bytes] | None = None


def changes(since: int, seen: HostState) -> Changes | None:
    """What was written after the revision `since`; None when only everything would be right. Two queries."""
    if not 0 <= seen.revision - since <= LONGEST_LOOK_BACK:
        return None
    if since == seen.revision:
        return {"programs": [], "removed": []}
    facts = ProgramEvent.objects.filter(seq__gt=since, type__in=("program.removed", "agent.started"))
    removed: list[int] = []
    for kind, data in facts.order_by("seq").values_list("type", "data"):
        if kind == "agent.started":  # what was unknown may be known again
            return None
        removed.append(data["id"])
    return {"programs": changed_programs(seen, since), "removed": removed}


class AgentLiveness:
    """Remembers when an agent fell silent or was heard again.

    That turns programs into `unknown` and back without a word in the database, so no revision tells of it.
    """

    def __init__(self) -> None:
        self._alive: dict[int, bool] = {}
        self._at_revision = -1

    def flipped(self, seen: HostState) -> bool:
        """Whether that happened between the last call and this one."""
        known, self._alive = self._alive, dict(seen.alive)
        return any(known.get(host, is_alive) != is_alive for host, is_alive in self._alive.items())

    def changed_after(self, since: int | None, seen: HostState) -> bool:
        """Whether that happened after somebody read the revision `since`."""
        if self.flipped(seen):
            self._at_revision = seen.revision
        elif self._at_revision > seen.revision:  # the database was replaced by an older one
            self._at_revision = -1
        return since is not None and since <= self._at_revision


silences = AgentLiveness()


# --- Putting together -----------------------------------------------------------------------------------
# Written for speed: with a thousand programs every microsecond here is a millisecond of the answer.


def _remembered(rows: list[Row], seen: HostState) -> ProgramStatus:
    """As `_program`. When the very same rows were seen before, only the age of the process is new."""
    host = seen.default if rows[0][HOST] is None else rows[0][HOST]
    key = (rows, host, host is not None and (seen.names[host], seen.alive[host]))
    known_key, known, began = _memory.get(rows[0][0], (None, None, 0.0))
    if known is None or known_key != key:
        built = _program(rows, seen)
        if len(rows) == 1:
            _memory[rows[0][0]] = (key, built, _seconds(rows[0][STARTED_AT]))
        return built
    if known["uptime_seconds"] is None:
        return known
    age = max(0, int(seen.now - began))
    return {**known, "uptime_seconds": age, "processes": [{**known["processes"][0], "uptime_seconds": age}]}


# Compared by content, so it cannot be wrong. Emptied when half of it is about programs that are gone.
_memory: dict[int, tuple[Any, ProgramStatus, float]] = {}


def _program(rows: Sequence[Row], seen: HostState) -> ProgramStatus:
    """One program from its rows, one for each process; a single one without a process when there is none."""
    program_id, name, desired_state, desired_instances, tags, host_id, revision = rows[0][:WIDTH]
    host = seen.default if host_id is None else host_id
    is_known = host is not None and seen.alive[host]
    processes = [_process(row[WIDTH:], seen.now, is_known) for row in rows if row[WIDTH] is not None]
    leading, totals = (processes[0], processes[0]) if len(processes) == 1 else _several(processes)
    return {
        "id": program_id,
        "name": name,
        "state": leading["state"] if is_known else "unknown",
        "desired_state": desired_state,
        "health": totals["health"],
        "reason": leading["reason"],
        "pid": leading["pid"],
        "cpu_percent": totals["cpu_percent"],
        "memory_bytes": totals["memory_bytes"],
        "threads": totals["threads"],
        "started_at": leading["started_at"],
        "uptime_seconds": leading["uptime_seconds"],
        "next_start_at": leading["next_start_at"],
        "restarts": totals["restarts"],
        "exit_code": leading["exit_code"],
        "exit_signal": leading["exit_signal"],
        "instances": {"running": _running(processes), "desired": desired_instances},
        "processes": processes,
        "host": seen.names[host] if host is not None else None,
        "tags": orjson.loads(tags) if isinstance(tags, str) else tags,
        "revision": max(revision, totals["revision"]),
    }


def _process(row: Row, now: float, is_known: bool) -> ProcessStatus:
    (
        index, state, reason, pid, cpu_percent, memory_bytes, threads, started_at, next_start_at,
        restarts, exit_code, exit_signal, health, revision,
    ) = row  # fmt: skip
    return {
        "index": index,
        "state": state if is_known else "unknown",
        "reason": reason,
        "pid": pid,
        "cpu_percent": round(cpu_percent, 2),
        "memory_bytes": memory_bytes,
        "threads": threads,
        "started_at": iso(started_at),
        "uptime_seconds": _age(started_at, now) if is_known and state in ALIVE else None,
        "next_start_at": iso(next_start_at),
        "restarts": restarts,
        "exit_code": exit_code,
        "exit_signal": exit_signal,
        "health": health or None,
        "revision": revision,
    }


def _age(moment: datetime | None, now: float) -> int | None:
    return max(0, int(now - _seconds(moment))) if moment else None


def _seconds(moment: datetime | None) -> float:
    return in_utc(moment).timestamp() if moment else 0.0


def _running(processes: Sequence[ProcessStatus]) -> int:
    return len([process for process in processes if process["state"] == "running"])


def _several(processes: Sequence[ProcessStatus]) -> tuple[ProcessStatus, ProcessStatus]:
    """The process that most needs attention, and the sums over all of them; also for none."""
    state = combined_state(State(process["state"]) for process in processes)
    leading = next((process for process in processes if process["state"] == state), NO_PROCESS)
    found = {process["health"] for process in processes}
    return leading, {
        **leading,
        "health": next((health for health in HEALTH_FIRST if health in found), None),
        "cpu_percent": round(sum(process["cpu_percent"] for process in processes), 2),
        "memory_bytes": sum(process["memory_bytes"] for process in processes),
        "threads": sum(process["threads"] for process in processes),
        "restarts": sum(process["restarts"] for process in processes),
        "revision": max((process["revision"] for process in processes), default=0),
    }


NO_PROCESS: ProcessStatus = {
    "index": 0, "state": "stopped", "reason": "", "pid": None, "cpu_percent": 0.0, "memory_bytes": 0, "threads": 0,
    "started_at": None, "uptime_seconds": None, "next_start_at": None, "restarts": 0, "exit_code": None,
    "exit_signal": None, "health": None, "revision": 0,
}  # fmt: skip
