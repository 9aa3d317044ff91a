"""Evaluates the alert rules at one time: which alerts open and which resolve. `writer` stores the decisions.

All state is in the database, so an agent that was killed decides the same again.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Set
from dataclasses import dataclass, field
from datetime import timedelta

from core.timeformat import from_unix
from metrics.storage.tiers import RAW
from programs.models import Host, Program

from .models import Alert, AlertRule
from .policy import NOT_FIRING, AlertState, MetricReading, Thresholds, Transition, decide
from .selectors import MetricReader, presence, round_up
from .units import METRIC_SPECS

ProgramTags = Mapping[int, Set[str]]  # by program id


@dataclass(frozen=True)
class RuleScope:
    """The programs that a rule applies to: its programs and those with its tags; all if it has neither."""

    programs: Collection[int] = ()
    tags: Collection[str] = ()

    @property
    def is_all(self) -> bool:
        return not self.programs and not self.tags

    def includes(self, program: int, tags: Set[str]) -> bool:
        if self.is_all:
            return True
        return program in self.programs or not tags.isdisjoint(self.tags)

    def select_from(self, present: ProgramTags) -> list[int]:
        return [program for program, tags in present.items() if self.includes(program, tags)]


Reason = Alert.Reason
RESOLUTION_REASONS = {Transition.RECOVERED: Reason.RECOVERED, Transition.STOPPED: Reason.STOPPED}
AlertKey = tuple[int, int]  # rule id, program id


@dataclass(frozen=True)
class NewAlert:
    rule: AlertRule
    program: int
    value: float
    at: int


@dataclass(frozen=True)
class Resolution:
    """`value` is the last one, or None if there is none."""

    alert: Alert
    reason: str
    value: float | None
    at: int


@dataclass
class Decisions:
    """Decisions to be written. `updated` are open alerts with a new highest or lowest value."""

    firings: list[NewAlert] = field(default_factory=list)
    resolutions: list[Resolution] = field(default_factory=list)
    updated: list[Alert] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.firings or self.resolutions or self.updated)

    def split(self, most: int) -> tuple[Decisions, Decisions]:
        return (
            Decisions(self.firings[:most], self.resolutions[:most], self.updated[:most]),
            Decisions(self.firings[most:], self.resolutions[most:], self.updated[most:]),
        )


def thresholds_of(rule: AlertRule, step: int) -> Thresholds:
    clear = rule.threshold if rule.clear_threshold is None else rule.clear_threshold
    is_above = rule.condition == "above"
    return Thresholds(is_above, rule.threshold, clear, round_up(rule.window_seconds, step))


def scope_of(rule: AlertRule) -> RuleScope:
    return RuleScope(frozenset(rule.programs), frozenset(rule.tags))


def evaluate(host: Host, end: int, rules: list[AlertRule]) -> Decisions:
    """Evaluates the host's programs at `end` (Unix seconds; everything before is recorded) by the enabled `rules`.

    Six queries and one per rule; one more if an open alert belongs to a program that moved to another host.
    """
    alerts = _OpenAlerts(host, end, rules)
    decisions = Decisions(resolutions=list(alerts.obsolete(end)))
    if rules and alerts.programs:
        reader = MetricReader(end, presence(host.pk, end))
        for rule in rules:
            _evaluate_rule(rule, reader, alerts, decisions)
    return decisions


class _OpenAlerts:
    """Open and recently resolved alerts, and the programs of the host. Three queries."""

    def __init__(self, host: Host, end: int, rules: list[AlertRule]) -> None:
        self._host = host
        self._rules = {rule.pk: rule for rule in rules}
        self.programs: ProgramTags = {
            pk: frozenset(tags)
            for pk, tags in Program.objects.of_host(host).order_by("pk").values_list("pk", "tags")  # type: ignore[attr-defined]  # ours
        }
        self._open = list(Alert.objects.filter(resolved_at=None))
        self.open = {(alert.rule_id, alert.program_id): alert for alert in self._open}
        self.last_resolved = self._last_resolved(end, rules)

    def _last_resolved(self, end: int, rules: list[AlertRule]) -> dict[AlertKey, int]:
        """When the last alert of each rule and program was resolved, if that still delays the next one.

        Not for alerts resolved by a changed rule: it may fire again at once.
        """
        longest = max((rule.window_seconds for rule in rules), default=0)
        since = from_unix(end) - timedelta(seconds=longest + RAW.width)
        rows = Alert.objects.filter(resolved_at__gte=since, rule__in=self._rules).exclude(
            reason=Reason.RULE_CHANGED
        )
        timestamps = rows.order_by("resolved_at").values_list("rule_id", "program_id", "resolved_at")
        return {(rule, program): int(at.timestamp()) for rule, program, at in timestamps if at}

    def state(self, key: AlertKey) -> AlertState:
        if alert := self.open.get(key):
            return AlertState(is_firing=True, since=int(alert.started_at.timestamp()))
        return AlertState(since=self.last_resolved[key]) if key in self.last_resolved else NOT_FIRING

    def firing_programs(self, rule: AlertRule) -> list[int]:
        return [program for rule_id, program in self.open if rule_id == rule.pk and program is not None]

    def obsolete(self, end: int) -> Iterator[Resolution]:
        """Resolutions that do not depend on the history."""
        for alert in self._open:
            if self._is_ours(alert) and (reason := self._obsolete_reason(alert)):
                self.open.pop((alert.rule_id, alert.program_id), None)
                yield Resolution(alert, reason, None, end)

    def _is_ours(self, alert: Alert) -> bool:
        # An alert belongs to its program's host, or to the host that opened it if the program was removed.
        if alert.program_id in self.programs:
            return True
        if alert.host_id != self._host.pk:
            return False
        has_moved = alert.program_id is not None and Program.objects.filter(pk=alert.program_id).exists()
        return not has_moved

    def _obsolete_reason(self, alert: Alert) -> str:
        if alert.rule_id is None:
            return Reason.RULE_REMOVED
        tags = self.programs.get(alert.program_id or 0)
        if alert.program_id is None or tags is None:
            return Reason.PROGRAM_REMOVED
        rule = self._rules.get(alert.rule_id)
        still_applies = (
            rule is not None
            and (alert.metric, alert.condition) == (rule.metric, rule.condition)
            and scope_of(rule).includes(alert.program_id, tags)
        )
        return "" if still_applies else Reason.RULE_CHANGED


def _evaluate_rule(rule: AlertRule, reader: MetricReader, alerts: _OpenAlerts, decisions: Decisions) -> None:
    scope, thresholds = scope_of(rule), thresholds_of(rule, RAW.width)
    selected = None if scope.is_all else scope.select_from(alerts.programs)
    if selected == []:
        return
    firing_programs = [program for program in alerts.firing_programs(rule) if program in alerts.programs]
    readings = reader.readings(METRIC_SPECS[rule.metric], thresholds, selected, firing_programs)
    for program, reading in readings.items():
        if program not in alerts.programs:  # belongs to another host, or was removed
            continue
        key = (rule.pk, program)
        transition = decide(thresholds, alerts.state(key), reading, reader.end)
        if transition is Transition.FIRE and reading.value is not None:
            decisions.firings.append(NewAlert(rule, program, reading.value, reader.end))
        elif transition in RESOLUTION_REASONS:
            alert = alerts.open[key]
            reason = _reason(transition, alert, rule)
            decisions.resolutions.append(Resolution(alert, reason, reading.value, reader.end))
        elif key in alerts.open and _update_extremes(alerts.open[key], reading):
            decisions.updated.append(alerts.open[key])


def _reason(transition: Transition, alert: Alert, rule: AlertRule) -> str:
    # A value that is only clear by a changed threshold has not recovered.
    is_new_threshold = transition is Transition.RECOVERED and alert.threshold != rule.threshold
    return Reason.RULE_CHANGED if is_new_threshold else RESOLUTION_REASONS[transition]


def _update_extremes(alert: Alert, reading: MetricReading) -> bool:
    """Updates highest and lowest; returns whether one changed."""
    if reading.value is None or alert.lowest <= reading.value <= alert.highest:
        return False
    alert.lowest, alert.highest = min(alert.lowest, reading.value), max(alert.highest, reading.value)
    return True


def enabled_rules() -> list[AlertRule]:
    return list(AlertRule.objects.filter(enabled=True).order_by("pk"))
