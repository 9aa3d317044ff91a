"""A rule against stored history: when it would have fired, by the same policy that the agents ask.

Bounded: so many points may be read, and of programs that were beyond the threshold at all so many may be gone
through step by step.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from operator import itemgetter
from typing import Any, NamedTuple

from django.core.exceptions import ValidationError
from django.db import connection

from metrics import tiers
from metrics.measures import OneHost, Programs, Source
from metrics.queries import united
from metrics.tiers import TIERS, Tier
from programs.models import Host, Program

from .evaluation import selection_of, terms_of
from .levels import LEVELS, Level
from .models import Alert, AlertRule
from .policy import QUIET, Reading, Standing, Terms, Verdict, judge
from .readings import absent_seconds, whole

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
        pk: (name, host, tags)
        for pk, name, host, tags in Program.objects.order_by("name").values_list("pk", "name", "host", "tags")
    }
    selected = selection_of(rule).among({pk: frozenset(tags) for pk, (_, _, tags) in present.items()})
    asked = plan(rule, len(selected), start, end, now)
    outcome = Outcome(asked, judged=len(selected))
    history = _History(rule, asked, now)
    suspects = history.suspects(selected) if asked.looks > 0 else []
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
        raise ValidationError({"end": "Must come after the start."})
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

    def suspects(self, programs: Sequence[int]) -> list[int]:
        """Those with a row beyond the threshold: an average is beyond it only if some part of it is."""
        if not programs:
            return []
        comparison = ">" if self._rule.condition == "above" else "<"
        margin = 10**-self._level.digits * (-1 if comparison == ">" else 1)  # values are rounded
        side = self._level.under or "1"
        condition = f"{self._level.factor} * {self._level.over} {comparison} %s * {side}"
        rows, values = self._united(programs)
        sql = f"SELECT DISTINCT program_id FROM ({rows}) AS found WHERE {condition}"  # noqa: S608  (names)
        return [program for (program,) in _fetched(sql, [*values, self._rule.threshold + margin])]

    def rows(self, programs: Sequence[int]) -> Iterator[tuple[int, Iterable[Row]]]:
        """By program, in the order of time."""
        if not programs:
            return
        rows, values = self._united(programs)
        bucket = f"timestamp - timestamp %% {self._asked.step} AS bucket"
        sql = (
            f"SELECT program_id, {bucket}, {self._level.aggregates} FROM ({rows}) AS found "  # noqa: S608  (names)
            "GROUP BY program_id, bucket ORDER BY program_id, bucket"
        )
        yield from groupby(map(Row._make, _fetched(sql, values)), itemgetter(0))

    def _united(self, programs: Sequence[int]) -> tuple[str, list[Any]]:
        columns = ", ".join(("timestamp", *self._level.columns))
        lead = max(self._asked.window, absent_seconds(self._asked.step))
        return _rows_of(Programs(programs), self._asked, self._now, lead, columns)


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
        rows, values = _rows_of(OneHost(host), self._asked, now, lead, "timestamp")
        bucket = f"timestamp - timestamp %% {self._asked.step}"
        return frozenset(at for (at,) in _fetched(f"SELECT DISTINCT {bucket} FROM ({rows}) AS found", values))  # noqa: S608  (names)

    def is_complete(self, host: int | None) -> Callable[[int], bool]:
        """Whether every row of the last moments before a look is there."""
        seen = self._seen.get(self._default if host is None else host, frozenset())  # type: ignore[arg-type]  # None: no host
        step, lead = self._asked.step, absent_seconds(self._asked.step)
        return lambda look: all(at in seen for at in range(look - lead, look, step))


def _rows_of(source: Source, asked: Plan, now: int, lead: int, columns: str) -> tuple[str, list[Any]]:
    segments = tiers.segments(asked.start - lead, asked.end, asked.tier, source.complete_until(), now)
    return united(source, segments, columns)


def _fetched(sql: str, values: Sequence[Any]) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(sql, values)
        found: list[tuple[Any, ...]] = cursor.fetchall()
        return found


# --- Step by step -----------------------------------------------------------------------------------------


class Sliding:
    """The rows of one program in a window that moves on, and what they come to."""

    def __init__(self, level: Level) -> None:
        self._level = level
        self._rows: deque[Row] = deque()
        self._peaks: deque[Row] = deque()  # falling, so that the first is the highest that is still in the window
        self._covered = self._over = self._under = 0
        self._known = 0  # rows of which `over` is told
        self.newest = 0

    def add(self, row: Row) -> None:
        self._rows.append(row)
        self.newest = row.at
        self._count(row, 1)
        if self._level.is_highest and row.over is not None:
            while self._peaks and self._peaks[-1].over <= row.over:
                self._peaks.pop()
            self._peaks.append(row)

    def drop_before(self, moment: int) -> None:
        while self._rows and self._rows[0].at < moment:
            self._count(self._rows.popleft(), -1)
        while self._peaks and self._peaks[0].at < moment:
            self._peaks.popleft()

    def _count(self, row: Row, sign: int) -> None:
        self._covered += sign * int(row.covered)
        self._under += sign * int(row.under)
        if row.over is not None:
            self._over += sign * int(row.over)
            self._known += sign

    def reading(self, is_running: bool | None) -> Reading:
        over: Any = self._over if self._known else None
        if self._level.is_highest:
            over = self._peaks[0].over if self._peaks else None
        return Reading(self._level.of(over, self._under), self._covered / 1000, is_running)


def walk(rule: AlertRule, asked: Plan, rows: Iterable[Row], is_complete: Callable[[int], bool]) -> list[Episode]:
    """What the agent would have done about one program, look by look. `rows` in the order of time."""
    terms, level = terms_of(rule, asked.step), LEVELS[rule.metric]
    sliding, waiting = Sliding(level), deque(rows)
    episodes: list[Episode] = []
    standing, absent = QUIET, absent_seconds(asked.step)
    for look in range(asked.start + asked.step, asked.end + 1, asked.step):
        while waiting and waiting[0].at < look:
            sliding.add(waiting.popleft())
        sliding.drop_before(look - asked.window)
        is_running = True if sliding.newest >= look - absent else False if is_complete(look) else None
        standing = _step(terms, standing, sliding.reading(is_running), look, episodes)
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
