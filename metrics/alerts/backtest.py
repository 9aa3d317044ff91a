"""Backtest: when a rule would have fired on the stored history, decided by the same policy as in the agent.

The work is bounded by MAX_POINTS_READ, and by MAX_STEPS for the programs that exceeded the threshold at all.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, groupby
from operator import itemgetter
from typing import Any, NamedTuple

from django.core.exceptions import ValidationError
from django.db import connection

from metrics.queries.measures import HostSource, ProgramSource, RowSource
from metrics.queries.series import union_rows
from metrics.storage import tiers
from metrics.storage.tiers import TIERS, Tier
from programs.models import Host, Program

from .evaluation import RESOLUTION_REASONS, scope_of, thresholds_of
from .models import AlertRule
from .policy import NOT_FIRING, AlertState, MetricReading, Thresholds, Transition, decide
from .selectors import absent_seconds, round_up
from .units import METRIC_SPECS, MetricSpec

MAX_POINTS_READ = 3_000_000  # points of all programs together
MAX_STEPS = 300_000  # of all programs together
MAX_LISTED = 1000  # alerts in the result; all are counted


@dataclass(frozen=True)
class BacktestPlan:
    """Evaluates every `step` seconds from `start` to `end`. `window` is the rule's, in whole steps."""

    start: int
    end: int
    step: int
    window: int
    tier: Tier

    @property
    def steps(self) -> int:
        return (self.end - self.start) // self.step


@dataclass
class Episode:
    """One simulated alert, in Unix seconds. `resolved_at` is None if it is still firing at the end."""

    started_at: int
    value: float
    highest: float
    lowest: float
    resolved_at: int | None = None
    reason: str = ""


@dataclass(frozen=True)
class ProgramBacktest:
    id: int
    name: str
    episodes: list[Episode]


@dataclass
class BacktestResult:
    """`programs` with at least one alert; `judged` is the number of evaluated programs."""

    plan: BacktestPlan
    judged: int = 0
    total: int = 0
    programs: list[ProgramBacktest] = field(default_factory=list)

    @property
    def is_truncated(self) -> bool:
        return self.total > sum(len(one.episodes) for one in self.programs)


def backtest(rule: AlertRule, start: int, end: int, now: int) -> BacktestResult:
    """`rule` may be unsaved, but must be valid. Raises ValidationError if a limit is exceeded.

    Six queries and five per host, regardless of the number of programs.
    """
    present = {
        pk: (name, host, frozenset(tags))
        for pk, name, host, tags in Program.objects.values_list("pk", "name", "host", "tags")
    }
    scope = scope_of(rule)
    selected = set(scope.select_from({pk: tags for pk, (_, _, tags) in present.items()}))
    plan = plan_backtest(rule, len(selected), start, end, now)
    result = BacktestResult(plan, judged=len(selected))
    if not selected or plan.steps <= 0:
        return result
    history = _MetricHistory(rule, plan, now)
    candidates = sorted(selected & history.candidates(None if scope.is_all else sorted(selected)))
    if len(candidates) * plan.steps > MAX_STEPS:
        raise _limit_error(len(candidates) * plan.steps, MAX_STEPS)
    hosts = _HostPresence({present[pk][1] for pk in candidates}, plan, now)
    for program, rows in history.rows(candidates):
        name, host, _ = present[program]
        _add(result, program, name, simulate(rule, plan, rows, hosts.is_complete(host)))
    result.programs.sort(key=lambda one: one.name)
    return result


def _add(result: BacktestResult, program: int, name: str, episodes: list[Episode]) -> None:
    room = MAX_LISTED - sum(len(one.episodes) for one in result.programs)
    result.total += len(episodes)
    if episodes[:room]:
        result.programs.append(ProgramBacktest(program, name, episodes[:room]))


def plan_backtest(rule: AlertRule, programs: int, start: int, end: int, now: int) -> BacktestPlan:
    """Chooses the finest tier that reaches back far enough and stays within the limit. Raises ValidationError.

    The window is at least as long as a row of the tier.
    """
    if start >= end:
        raise ValidationError({"end": "Must be after start."})
    reach = start - rule.window_seconds
    reaching = [tier for tier in TIERS if reach >= now - tier.kept_seconds] or [TIERS[-1]]
    fitting = [reaching[0], *(tier for tier in reaching[1:] if tier.width <= rule.window_seconds)]
    plans = [_plan_for_tier(tier, rule, start, min(end, now)) for tier in fitting]
    for found in plans:
        if programs * found.steps <= MAX_POINTS_READ:
            return found
    raise _limit_error(programs * plans[-1].steps, MAX_POINTS_READ)


def _plan_for_tier(tier: Tier, rule: AlertRule, start: int, end: int) -> BacktestPlan:
    return BacktestPlan(
        tier.floor(start), tier.floor(end), tier.width, round_up(rule.window_seconds, tier.width), tier
    )


def _limit_error(points: int, limit: int) -> ValidationError:
    text = f"{points:,} points exceed the limit of {limit:,}. Choose a shorter time or fewer programs."
    return ValidationError({"hours": text})


# --- Recorded history ------------------------------------------------------------------------------------


class BucketSums(NamedTuple):
    """One step of one program; the last three are `MetricSpec.sql_aggregates`."""

    program: int
    at: int
    covered: Any
    numerator: Any
    denominator: Any


class _MetricHistory:
    def __init__(self, rule: AlertRule, plan: BacktestPlan, now: int) -> None:
        self._rule = rule
        self._spec = METRIC_SPECS[rule.metric]
        self._plan = plan
        self._now = now

    def candidates(self, programs: Sequence[int] | None) -> set[int]:
        # An average can only be beyond the threshold if one of its rows is.
        spec, above = self._spec, self._rule.condition == "above"
        beyond = spec.sql_condition(spec.numerator, spec.denominator, above=above)
        rows, values = self._union_rows(programs)
        sql = f"SELECT DISTINCT program_id FROM ({rows}) AS found WHERE {beyond}"  # noqa: S608  (names)
        return {program for (program,) in _rows(sql, [*values, spec.sql_limit(self._rule.threshold, above=above)])}

    def rows(self, programs: Sequence[int]) -> Iterator[tuple[int, Iterable[BucketSums]]]:
        if not programs:
            return
        rows, values = self._union_rows(programs)
        bucket = f"timestamp - timestamp %% {self._plan.step} AS bucket"
        sql = (
            f"SELECT program_id, {bucket}, {', '.join(self._spec.sql_aggregates)} FROM ({rows}) AS found "  # noqa: S608  (names)
            "GROUP BY program_id, bucket ORDER BY program_id, bucket"
        )
        yield from groupby(map(BucketSums._make, _rows(sql, values)), itemgetter(0))

    def _union_rows(self, programs: Sequence[int] | None) -> tuple[str, list[Any]]:
        columns = ", ".join(("timestamp", *self._spec.columns))
        lead = max(self._plan.window, absent_seconds(self._plan.step))
        return _rows_of(ProgramSource(programs), self._plan, self._now, lead, columns)


class _HostPresence:
    """The time steps in which each host's agent recorded. None stands for the default host."""

    def __init__(self, hosts: set[int | None], plan: BacktestPlan, now: int) -> None:
        self._plan = plan
        default = Host.objects.filter(is_default=True).values_list("pk", flat=True).first()
        self._default = default
        ids = {default if host is None else host for host in hosts} - {None}
        self._seen = {pk: self._buckets(pk, now) for pk in ids if pk is not None}

    def _buckets(self, host: int, now: int) -> frozenset[int]:
        lead = absent_seconds(self._plan.step)
        rows, values = _rows_of(HostSource(host), self._plan, now, lead, "timestamp")
        bucket = f"timestamp - timestamp %% {self._plan.step}"
        return frozenset(at for (at,) in _rows(f"SELECT DISTINCT {bucket} FROM ({rows}) AS found", values))  # noqa: S608  (names)

    def is_complete(self, host: int | None) -> Callable[[int], bool]:
        """A function: whether the agent recorded every step within `absent_seconds` before a time."""
        seen = self._seen.get(self._default if host is None else host, frozenset())  # type: ignore[arg-type]  # None: no host
        step, lead = self._plan.step, absent_seconds(self._plan.step)
        return lambda step_end: all(at in seen for at in range(step_end - lead, step_end, step))


def _rows_of(source: RowSource, plan: BacktestPlan, now: int, lead: int, columns: str) -> tuple[str, list[Any]]:
    segments = tiers.segments(plan.start - lead, plan.end, plan.tier, source.complete_until(), now)
    return union_rows(source, segments, columns)


def _rows(sql: str, values: Sequence[Any]) -> Iterator[tuple[Any, ...]]:
    # Streamed, because a week of many programs may not fit into memory.
    with connection.cursor() as cursor:
        cursor.execute(sql, values)
        yield from cursor


# --- Simulation -----------------------------------------------------------------------------------------


class SlidingWindow:
    """The value of one program's metric in a window that advances.

    Uses prefix sums, so each step costs the same regardless of the window's length.
    """

    def __init__(self, spec: MetricSpec, rows: Iterable[BucketSums]) -> None:
        self._spec = spec
        self._rows = list(rows)
        self._covered = _sums(int(row.covered) for row in self._rows)
        self._numerators = _sums(int(row.numerator or 0) for row in self._rows)
        self._denominators = _sums(int(row.denominator) for row in self._rows)
        self._known = _sums(row.numerator is not None for row in self._rows)
        self._first = self._end = 0  # the window is rows[_first:_end]
        self._peaks: deque[BucketSums] = deque()  # in decreasing order: the first is the maximum of the window

    def advance(self, begin: int, end: int) -> None:
        """Moves the window to [begin, end). Neither may decrease."""
        rows = self._rows
        while self._end < len(rows) and rows[self._end].at < end:
            self._note_peak(rows[self._end])
            self._end += 1
        while self._first < self._end and rows[self._first].at < begin:
            self._first += 1
        while self._peaks and self._peaks[0].at < begin:
            self._peaks.popleft()

    def _note_peak(self, row: BucketSums) -> None:
        if self._spec.uses_maximum and row.numerator is not None:
            while self._peaks and self._peaks[-1].numerator <= row.numerator:
                self._peaks.pop()
            self._peaks.append(row)

    @property
    def newest(self) -> int:
        return self._rows[self._end - 1].at if self._end else 0

    @property
    def value(self) -> float | None:
        if self._spec.uses_maximum:
            return self._spec.compute(self._peaks[0].numerator if self._peaks else None, None)
        if not self._within(self._known):  # no row of the window has a value
            return None
        return self._spec.compute(self._within(self._numerators), self._within(self._denominators))

    @property
    def covered(self) -> float:
        return self._within(self._covered) / 1000

    def _within(self, sums: Sequence[int]) -> int:
        return sums[self._end] - sums[self._first]


def _sums(numbers: Iterable[int]) -> list[int]:
    return list(accumulate(numbers, initial=0))


def simulate(
    rule: AlertRule, plan: BacktestPlan, rows: Iterable[BucketSums], is_complete: Callable[[int], bool]
) -> list[Episode]:
    """The alerts that the agent would have opened for one program. `rows` in chronological order."""
    thresholds, window = thresholds_of(rule, plan.step), SlidingWindow(METRIC_SPECS[rule.metric], rows)
    episodes: list[Episode] = []
    state, absent = NOT_FIRING, absent_seconds(plan.step)
    for step_end in range(plan.start + plan.step, plan.end + 1, plan.step):
        window.advance(step_end - plan.window, step_end)
        value = window.value
        if not state.is_firing and (value is None or not thresholds.is_beyond(value)):
            continue  # the agent skips such programs in SQL
        is_running = True if window.newest >= step_end - absent else False if is_complete(step_end) else None
        state = _step(thresholds, state, MetricReading(value, window.covered, is_running), step_end, episodes)
    return episodes


def _step(
    thresholds: Thresholds, state: AlertState, reading: MetricReading, now: int, episodes: list[Episode]
) -> AlertState:
    transition = decide(thresholds, state, reading, now)
    if transition is Transition.FIRE and reading.value is not None:
        episodes.append(Episode(now, reading.value, reading.value, reading.value))
        return AlertState(is_firing=True, since=now)
    if transition in RESOLUTION_REASONS:
        episodes[-1].resolved_at, episodes[-1].reason = now, RESOLUTION_REASONS[transition]
        return AlertState(since=now)
    if state.is_firing and reading.value is not None:
        last = episodes[-1]
        last.highest, last.lowest = max(last.highest, reading.value), min(last.lowest, reading.value)
    return state
