"""What is to be done at one moment: which alerts open, which are over. It reads, and leaves writing to `records`.

Everything follows from rows of the database, so an agent that was killed at any point decides the same again.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Set
from dataclasses import dataclass, field
from datetime import timedelta

from core.timeformat import from_unix
from metrics.storage.tiers import RAW
from programs.models import Host, Program

from .models import Alert, AlertRule
from .policy import QUIET, Reading, Standing, Terms, Verdict, judge
from .selectors import Levels, presence, whole
from .units import LEVELS

Tagged = Mapping[int, Set[str]]  # program id → its tags


@dataclass(frozen=True)
class Selection:
    programs: Collection[int] = ()
    tags: Collection[str] = ()

    @property
    def is_all(self) -> bool:
        return not self.programs and not self.tags

    def includes(self, program: int, tags: Set[str]) -> bool:
        if self.is_all:
            return True
        return program in self.programs or not tags.isdisjoint(self.tags)

    def among(self, present: Tagged) -> list[int]:
        """Ids in the order of `present`."""
        return [program for program, tags in present.items() if self.includes(program, tags)]


Reason = Alert.Reason
REASONS = {Verdict.RECOVERED: Reason.RECOVERED, Verdict.STOPPED: Reason.STOPPED}
Key = tuple[int, int]  # rule id, program id


@dataclass(frozen=True)
class Firing:
    rule: AlertRule
    program: int
    value: float
    at: int


@dataclass(frozen=True)
class Ending:
    """`value` is the last one, None where there is none any more."""

    alert: Alert
    reason: str
    value: float | None
    at: int


@dataclass
class Decisions:
    """What is to be written. `followed` are open alerts with a new highest or lowest value."""

    firings: list[Firing] = field(default_factory=list)
    endings: list[Ending] = field(default_factory=list)
    followed: list[Alert] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.firings or self.endings or self.followed)

    def split(self, most: int) -> tuple[Decisions, Decisions]:
        """Up to so many of each kind, and the rest."""
        return (
            Decisions(self.firings[:most], self.endings[:most], self.followed[:most]),
            Decisions(self.firings[most:], self.endings[most:], self.followed[most:]),
        )


def terms_of(rule: AlertRule, step: int) -> Terms:
    clear = rule.threshold if rule.clear_threshold is None else rule.clear_threshold
    is_above = rule.condition == "above"
    return Terms(is_above, rule.threshold, clear, whole(rule.window_seconds, step))


def selection_of(rule: AlertRule) -> Selection:
    return Selection(frozenset(rule.programs), frozenset(rule.tags))


def evaluate(host: Host, end: int, rules: list[AlertRule]) -> Decisions:
    """Of the programs of `host`, at `end` (Unix seconds, up to which all is recorded), by the enabled `rules`.

    Six queries and one for each rule; one more when an open alert is about a program that has moved.
    """
    alerts = _Alerts(host, end, rules)
    decisions = Decisions(endings=list(alerts.out_of_place(end)))
    if rules and alerts.programs:
        levels = Levels(end, presence(host.pk, end))
        for rule in rules:
            _judge_all(rule, levels, alerts, decisions)
    return decisions


class _Alerts:
    """Open alerts, those that ended lately, and the programs of the host they can be about. Three queries."""

    def __init__(self, host: Host, end: int, rules: list[AlertRule]) -> None:
        self._host = host
        self._rules = {rule.pk: rule for rule in rules}
        self.programs: Tagged = {
            pk: frozenset(tags)
            for pk, tags in Program.objects.of_host(host).order_by("pk").values_list("pk", "tags")  # type: ignore[attr-defined]  # ours
        }
        self._open = list(Alert.objects.filter(resolved_at=None))
        self.open = {(alert.rule_id, alert.program_id): alert for alert in self._open}
        self.ended = self._ended(end, rules)

    def _ended(self, end: int, rules: list[AlertRule]) -> dict[Key, int]:
        """When the last alert of each rule and program was over, as far as that still holds back the next one.

        A rule that was changed starts afresh.
        """
        longest = max((rule.window_seconds for rule in rules), default=0)
        since = from_unix(end) - timedelta(seconds=longest + RAW.width)
        rows = Alert.objects.filter(resolved_at__gte=since, rule__in=self._rules).exclude(
            reason=Reason.RULE_CHANGED
        )
        moments = rows.order_by("resolved_at").values_list("rule_id", "program_id", "resolved_at")
        return {(rule, program): int(at.timestamp()) for rule, program, at in moments if at}

    def standing(self, key: Key) -> Standing:
        if alert := self.open.get(key):
            return Standing(is_firing=True, since=int(alert.started_at.timestamp()))
        return Standing(since=self.ended[key]) if key in self.ended else QUIET

    def lasting(self, rule: AlertRule) -> list[int]:
        """The programs of which the rule has an open alert, whosever they are."""
        return [program for of, program in self.open if of == rule.pk and program is not None]

    def out_of_place(self, end: int) -> Iterator[Ending]:
        """Those that are over whatever the history says."""
        for alert in self._open:
            if self._is_ours(alert) and (reason := self._why_over(alert)):
                self.open.pop((alert.rule_id, alert.program_id), None)
                yield Ending(alert, reason, None, end)

    def _is_ours(self, alert: Alert) -> bool:
        """An alert belongs to the host of its program, or where that is gone to the host that opened it."""
        if alert.program_id in self.programs:
            return True
        if alert.host_id != self._host.pk:
            return False
        has_moved = alert.program_id is not None and Program.objects.filter(pk=alert.program_id).exists()
        return not has_moved

    def _why_over(self, alert: Alert) -> str:
        if alert.rule_id is None:
            return Reason.RULE_REMOVED
        tags = self.programs.get(alert.program_id or 0)
        if alert.program_id is None or tags is None:
            return Reason.PROGRAM_REMOVED
        rule = self._rules.get(alert.rule_id)
        is_as_before = (
            rule is not None
            and (alert.metric, alert.condition) == (rule.metric, rule.condition)
            and selection_of(rule).includes(alert.program_id, tags)
        )
        return "" if is_as_before else Reason.RULE_CHANGED


def _judge_all(rule: AlertRule, levels: Levels, alerts: _Alerts, decisions: Decisions) -> None:
    selection, terms = selection_of(rule), terms_of(rule, RAW.width)
    selected = None if selection.is_all else selection.among(alerts.programs)
    if selected == []:
        return
    lasting = [program for program in alerts.lasting(rule) if program in alerts.programs]
    for program, reading in levels.readings(LEVELS[rule.metric], terms, selected, lasting).items():
        if program not in alerts.programs:  # of another host, or removed
            continue
        key = (rule.pk, program)
        verdict = judge(terms, alerts.standing(key), reading, levels.end)
        if verdict is Verdict.FIRE and reading.value is not None:
            decisions.firings.append(Firing(rule, program, reading.value, levels.end))
        elif verdict in REASONS:
            alert = alerts.open[key]
            reason = _reason(verdict, alert, rule)
            decisions.endings.append(Ending(alert, reason, reading.value, levels.end))
        elif key in alerts.open and _follow(alerts.open[key], reading):
            decisions.followed.append(alerts.open[key])


def _reason(verdict: Verdict, alert: Alert, rule: AlertRule) -> str:
    """A value that only looks better by a new threshold has not recovered."""
    is_new_threshold = verdict is Verdict.RECOVERED and alert.threshold != rule.threshold
    return Reason.RULE_CHANGED if is_new_threshold else REASONS[verdict]


def _follow(alert: Alert, reading: Reading) -> bool:
    """Whether the alert has a new extreme."""
    if reading.value is None or alert.lowest <= reading.value <= alert.highest:
        return False
    alert.lowest, alert.highest = min(alert.lowest, reading.value), max(alert.highest, reading.value)
    return True


def enabled_rules() -> list[AlertRule]:
    """One query."""
    return list(AlertRule.objects.filter(enabled=True).order_by("pk"))
