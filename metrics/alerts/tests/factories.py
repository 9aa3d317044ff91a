"""Rules, alerts, usage history, and an agent's alert service that evaluates on request."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from django.utils import timezone

from metrics.alerts.models import Alert, AlertRule
from metrics.alerts.service import AlertService
from metrics.models import OpenPeriod
from metrics.storage.tiers import RAW
from metrics.tests.fake_writer import Writer
from metrics.tests.history import store_host_usage, store_usage
from programs.hosts import this_host
from programs.models import Program, ProgramEvent

NOW = 20_800 * 86_400 + 43_200  # at noon


def rule(name: str = "hot", **fields: Any) -> AlertRule:
    """By default CPU above 90 % over 60 s."""
    given = {"metric": "cpu_percent", "threshold": 90.0, "window_seconds": 60, "revision": 1, **fields}
    return AlertRule.objects.create(name=name, **given)


def program(name: str = "web", **fields: Any) -> Program:
    return Program.objects.create(name=name, command="sleep 1", **fields)


def record_host(start: int, end: int) -> None:
    """Stores host rows, as an agent that recorded from `start` to `end` without a roll-up."""
    host = this_host()
    OpenPeriod.objects.get_or_create(host=host, tier=RAW.name, period=RAW.period_of(start))
    for timestamp in range(start, end, RAW.width):
        store_host_usage(host, RAW, timestamp)


def record_usage(about: Program, start: int, loads: Iterable[float | None], **values: Any) -> int:
    """Stores points with these CPU percentages (None: a gap); returns the end of the last one."""
    timestamp = start
    for load in loads:
        if load is not None:
            store_usage(RAW, about, timestamp, cpu=load, **values)
        timestamp += RAW.width
    return timestamp


def alert(of: AlertRule, about: Program, age: int = 0, lasted: int | None = None, **fields: Any) -> Alert:
    """An alert that fired `age` seconds ago and was resolved after `lasted` seconds."""
    begun = timezone.now() - timedelta(seconds=age)
    given = {
        "rule": of, "rule_name": of.name, "program": about, "program_name": about.name, "host": this_host(),
        "severity": of.severity, "metric": of.metric, "condition": of.condition, "threshold": of.threshold,
        "window_seconds": of.window_seconds, "value": 95, "highest": 99, "lowest": 91, "started_at": begun,
        "resolved_at": None if lasted is None else begun + timedelta(seconds=lasted),
        "reason": "" if lasted is None else "recovered",
    }  # fmt: skip
    return Alert.objects.create(**given | fields)


class FakeAgent:
    """An alert service that evaluates when the test calls it, and writes at once."""

    def __init__(self, writer: Writer) -> None:
        self.writer = writer
        self.restart()

    def restart(self) -> None:
        """Drops everything that is not in the database, like a killed agent."""
        self.writer.waiting.clear()
        self.service = AlertService(this_host(), self.writer.put_batch, lambda: 0)

    def evaluate(self, *ends: int) -> None:
        for end in ends:
            self.service.evaluate(end)
            self.writer.drain()

    def evaluate_each(self, start: int, end: int) -> None:
        self.evaluate(*range(start, end + 1, RAW.width))


def alert_events() -> list[tuple[str, dict[str, Any]]]:
    """Type and data of the alert events, oldest first."""
    found = ProgramEvent.objects.filter(type__startswith="alert.").order_by("seq")
    return [(event.type, event.data) for event in found]


def event_types() -> list[str]:
    return [type_ for type_, _ in alert_events()]


def only_alert() -> Alert:
    return Alert.objects.get()
