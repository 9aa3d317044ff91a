"""A rule against stored history: when it would have fired, by the same policy that the agents ask.

Bounded: so many points may be read, and of programs that were beyond the threshold at all so many may be gone
through step by step.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, groupby
from operator import itemgetter
from typing import Any, NamedTuple

from django.core.exceptions import ValidationError
from django.db import connection

from metrics.queries.measures import HostSource, ProgramSource, Source
from metrics.queries.series import union_rows
from metrics.storage import tiers
from metrics.storage.tiers import TIERS, Tier
from programs.models import Host, Program

from .evaluation import selection_of, terms_of
from .models import Alert, AlertRule
from .policy import QUIET, Reading, Standing, Terms, Verdict, judge
from .selectors import absent_seconds, whole
from .units import LEVELS, Level

MOST_READ = 3_000_000  # points of all programs together
MOST_WALKED = 300_000
MOST_LISTED = 1000  # alerts in the answer; all are counted
Reason = Alert.Reason


@dataclass(frozen=True)
class Plan:
    """Looks at each multiple of `step` after `start`, up to `end`. `window` is the rule's in whole steps."""

    start: int
    end: int
    step: int
    window: int
    tier: Tier

    @property
    def looks(self) -> int:
        return (self.end - self.start) // self.step


@dataclass
class Episode:
    """One alert that there would have been. Unix seconds; open at the end while `resolved_at` is None."""

    started_at: int
    value: float
    highest: float
    lowest: float
    resolved_at: int | None = None
    reason: str = ""


@dataclass(frozen=True)
class OfProgram:
    id: int
    name: str
    episodes: list[Episode]


@dataclass
class Outcome:
    """`programs` are those of which there would have been an alert; `judged` says how many were looked at."""

    plan: Plan
    judged: int = 0
    total: int = 0
    programs: list[OfProgram] = field(default_factory=list)

    @property
    def is_cut(self) -> bool:
        return self.total > sum(len(one.episodes) for one in self.programs)


def backtest(rule: AlertRule, start: int, end: int, now: int) -> Outcome:
    """`rule` need not be saved, but must be valid. Raises ValidationError when that would be too much.

    Six queries and five for each host, however many programs there are.
    """
    present = {
        pk: (name, host, frozenset(tags))
        for pk, name, host, tags in Program.objects.values_list("pk", "name", "host", "tags")
    }
    selection = selection_of(rule)
    selected = set(selection.among({pk: tags for pk, (_, _, tags) in present.items()}))
    asked = plan(rule, len(selected), start, end, now)
    outcome = Outcome(asked, judged=len(selected))
    if not selected or asked.looks <= 0:
        return outcome
    history = _History(rule, asked, now)
    suspects = sorted(selected & history.suspects(None if selection.is_all else sorted(selected)))
    if len(suspects) * asked.looks > MOST_WALKED:
        raise _too_much(len(suspects) * asked.looks, MOST_WALKED)
    hosts = _Hosts({present[pk][1] for pk in suspects}, asked, now)
    for program, rows in history.rows(suspects):
        name, host, _ = present[program]
        _add(outcome, program, name, walk(rule, asked, rows, hosts.is_complete(host)))
    outcome.programs.sort(key=lambda one: one.name)
    return outcome


def _add(outcome: Outcome, program: int, name: str, episodes: list[Episode]) -> None:
    room = MOST_LISTED - sum(len(one.episodes) for one in outcome.programs)
    outcome.total += len(episodes)
    if episodes[:room]:
        outcome.programs.append(OfProgram(program, name, episodes[:room]))


def plan(rule: AlertRule, programs: int, start: int, end: int, now: int) -> Plan:
    """The finest tier that goes back so far, or a coarser one when that is too much. Raises ValidationError.

    A window becomes as long as a row at least: what was kept by the minute says nothing about ten seconds.
    """
    if start >= end:
        raise ValidationError({"end": "Must be after start."})
    reach = start - rule.window_seconds
    reaching = [tier for tier in TIERS if reach >= now - tier.kept_seconds] or [TIERS[-1]]
    fitting = [reaching[0], *(tier for tier in reaching[1:] if tier.width <= rule.window_seconds)]
    plans = [_of_tier(tier, rule, start, min(end, now)) for tier in fitting]
    for found in plans:
        if programs * found.looks <= MOST_READ:
            return found
    raise _too_much(programs * plans[-1].looks, MOST_READ)


def _of_tier(tier: Tier, rule: AlertRule, start: int, end: int) -> Plan:
    return Plan(tier.floor(start), tier.floor(end), tier.width, whole(rule.window_seconds, tier.width), tier)


def _too_much(points: int, most: int) -> ValidationError:
    text = f"That would be {points:,} points, and {most:,} may be: take a shorter time or fewer programs."
    return ValidationError({"hours": text})


# --- What was recorded ------------------------------------------------------------------------------------


class Row(NamedTuple):
    """One step of one program; the last three are of `Level.aggregates`."""

    program: int
    at: int
    covered: Any
    over: Any
    under: Any


class _History:
    def __init__(self, rule: AlertRule, asked: Plan, now: int) -> None:
        self._rule = rule
        self._level = LEVELS[rule.metric]
        self._asked = asked
        self._now = now

    def suspects(self, programs: Sequence[int] | None) -> set[int]:
        """Those with a row beyond the threshold: an average is beyond it only if some part of it is."""
        level, above = self._level, self._rule.condition == "above"
        beyond = level.is_beyond(level.over, level.under, above=above)
        rows, values = self._united(programs)
        sql = f"SELECT DISTINCT program_id FROM ({rows}) AS found WHERE {beyond}"  # noqa: S608  (names)
        return {program for (program,) in _rows(sql, [*values, level.limit(self._rule.threshold, above=above)])}

    def rows(self, programs: Sequence[int]) -> Iterator[tuple[int, Iterable[Row]]]:
        """By program, in the order of time."""
        if not programs:
            return
        rows, values = self._united(programs)
        bucket = f"timestamp - timestamp %% {self._asked.step} AS bucket"
        sql = (
            f"SELECT program_id, {bucket}, {', '.join(self._level.sums)} FROM ({rows}) AS found "  # noqa: S608  (names)
            "GROUP BY program_id, bucket ORDER BY program_id, bucket"
        )
        yield from groupby(map(Row._make, _rows(sql, values)), itemgetter(0))

    def _united(self, programs: Sequence[int] | None) -> tuple[str, list[Any]]:
        columns = ", ".join(("timestamp", *self._level.columns))
        lead = max(self._asked.window, absent_seconds(self._asked.step))
        return _rows_of(ProgramSource(programs), self._asked, self._now, lead, columns)


class _Hosts:
    """When the agent of each host was there. `None` stands for the default host."""

    def __init__(self, hosts: set[int | None], asked: Plan, now: int) -> None:
        self._asked = asked
        default = Host.objects.filter(is_default=True).values_list("pk", flat=True).first()
        self._default = default
        ids = {default if host is None else host for host in hosts} - {None}
        self._seen = {pk: self._buckets(pk, now) for pk in ids if pk is not None}

    def _buckets(self, host: int, now: int) -> frozenset[int]:
        lead = absent_seconds(self._asked.step)
        rows, values = _rows_of(HostSource(host), self._asked, now, lead, "timestamp")
        bucket = f"timestamp - timestamp %% {self._asked.step}"
        return frozenset(at for (at,) in _rows(f"SELECT DISTINCT {bucket} FROM ({rows}) AS found", values))  # noqa: S608  (names)

    def is_complete(self, host: int | None) -> Callable[[int], bool]:
        """Whether every row of the last moments before a look is there."""
        seen = self._seen.get(self._default if host is None else host, frozenset())  # type: ignore[arg-type]  # None: no host
        step, lead = self._asked.step, absent_seconds(self._asked.step)
        return lambda look: all(at in seen for at in range(look - lead, look, step))


def _rows_of(source: Source, asked: Plan, now: int, lead: int, columns: str) -> tuple[str, list[Any]]:
    segments = tiers.segments(asked.start - lead, asked.end, asked.tier, source.complete_until(), now)
    return union_rows(source, segments, columns)


def _rows(sql: str, values: Sequence[Any]) -> Iterator[tuple[Any, ...]]:
    """As they are read: a week of many programs need not be in memory at once."""
    with connection.cursor() as cursor:
        cursor.execute(sql, values)
        yield from cursor


# --- Step by step -----------------------------------------------------------------------------------------


class Course:
    """The rows of one program, and what they come to in a window that moves on.

    Sums up to each row are made once, so that a window is a difference whatever its length.
    """

    def __init__(self, level: Level, rows: Iterable[Row]) -> None:
        self._level = level
        self._rows = list(rows)
        self._covered = _sums(int(row.covered) for row in self._rows)
        self._over = _sums(int(row.over or 0) for row in self._rows)
        self._under = _sums(int(row.under) for row in self._rows)
        self._told = _sums(row.over is not None for row in self._rows)
        self._first = self._behind = 0  # the window holds the rows from one to before the other
        self._peaks: deque[Row] = deque()  # falling, so that the first is the highest in the window

    def move(self, begin: int, end: int) -> None:
        """Neither may be less than before."""
        rows = self._rows
        while self._behind < len(rows) and rows[self._behind].at < end:
            self._note_peak(rows[self._behind])
            self._behind += 1
        while self._first < self._behind and rows[self._first].at < begin:
            self._first += 1
        while self._peaks and self._peaks[0].at < begin:
            self._peaks.popleft()

    def _note_peak(self, row: Row) -> None:
        if self._level.is_highest and row.over is not None:
            while self._peaks and self._peaks[-1].over <= row.over:
                self._peaks.pop()
            self._peaks.append(row)

    @property
    def newest(self) -> int:
        """When the last row up to the end of the window begins; nought before the first."""
        return self._rows[self._behind - 1].at if self._behind else 0

    @property
    def value(self) -> float | None:
        if self._level.is_highest:
            return self._level.of(self._peaks[0].over if self._peaks else None, None)
        is_told = self._within(self._told)
        return self._level.of(self._within(self._over), self._within(self._under)) if is_told else None

    @property
    def covered(self) -> float:
        return self._within(self._covered) / 1000

    def _within(self, sums: Sequence[int]) -> int:
        return sums[self._behind] - sums[self._first]


def _sums(numbers: Iterable[int]) -> list[int]:
    return list(accumulate(numbers, initial=0))


def walk(rule: AlertRule, asked: Plan, rows: Iterable[Row], is_complete: Callable[[int], bool]) -> list[Episode]:
    """What the agent would have done about one program, look by look. `rows` in the order of time."""
    terms, course = terms_of(rule, asked.step), Course(LEVELS[rule.metric], rows)
    episodes: list[Episode] = []
    standing, absent = QUIET, absent_seconds(asked.step)
    for look in range(asked.start + asked.step, asked.end + 1, asked.step):
        course.move(look - asked.window, look)
        value = course.value
        if not standing.is_firing and (value is None or not terms.is_beyond(value)):
            continue  # the agent has such programs left out by the database
        is_running = True if course.newest >= look - absent else False if is_complete(look) else None
        standing = _step(terms, standing, Reading(value, course.covered, is_running), look, episodes)
    return episodes


ENDS: Mapping[Verdict, str] = {Verdict.RECOVERED: Reason.RECOVERED, Verdict.STOPPED: Reason.STOPPED}


def _step(terms: Terms, standing: Standing, reading: Reading, now: int, episodes: list[Episode]) -> Standing:
    verdict = judge(terms, standing, reading, now)
    if verdict is Verdict.FIRE and reading.value is not None:
        episodes.append(Episode(now, reading.value, reading.value, reading.value))
        return Standing(is_firing=True, since=now)
    if verdict in ENDS:
        episodes[-1].resolved_at, episodes[-1].reason = now, ENDS[verdict]
        return Standing(since=now)
    if standing.is_firing and reading.value is not None:
        last = episodes[-1]
        last.highest, last.lowest = max(last.highest, reading.value), min(last.lowest, reading.value)
    return standing
