"""Rules, a history as the agent writes it, and the agent's look at it without an agent."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from django.utils import timezone

from metrics.alerts.models import Alert, AlertRule
from metrics.alerts.service import Watch
from metrics.models import OpenPeriod
from metrics.storage.tiers import RAW
from metrics.tests.history import store_host_usage, store_usage
from metrics.tests.writing import Writer
from programs.hosts import this_host
from programs.models import Program, ProgramEvent

NOW = 20_800 * 86_400 + 43_200  # a noon


def rule(name: str = "hot", **fields: Any) -> AlertRule:
    """CPU above 90 % over 60 s, unless told otherwise."""
    given = {"metric": "cpu_percent", "threshold": 90.0, "window_seconds": 60, "revision": 1, **fields}
    return AlertRule.objects.create(name=name, **given)


def program(name: str = "web", **fields: Any) -> Program:
    return Program.objects.create(name=name, command="sleep 1", **fields)


def watched(start: int, end: int) -> None:
    """The agent was there: a row of the host for each point, and no minutes built of the points yet."""
    host = this_host()
    OpenPeriod.objects.get_or_create(host=host, tier=RAW.name, period=RAW.period_of(start))
    for timestamp in range(start, end, RAW.width):
        store_host_usage(host, RAW, timestamp)


def ran(about: Program, start: int, loads: Iterable[float | None], **values: Any) -> int:
    """One point after the other with that much CPU, None for none; returns when the last one ends."""
    timestamp = start
    for load in loads:
        if load is not None:
            store_usage(RAW, about, timestamp, cpu=load, **values)
        timestamp += RAW.width
    return timestamp


def alert(of: AlertRule, about: Program, age: int = 0, lasted: int | None = None, **fields: Any) -> Alert:
    """One that began `age` seconds ago and is over after `lasted`."""
    begun = timezone.now() - timedelta(seconds=age)
    given = {
        "rule": of, "rule_name": of.name, "program": about, "program_name": about.name, "host": this_host(),
        "severity": of.severity, "metric": of.metric, "condition": of.condition, "threshold": of.threshold,
        "window_seconds": of.window_seconds, "value": 95, "highest": 99, "lowest": 91, "started_at": begun,
        "resolved_at": None if lasted is None else begun + timedelta(seconds=lasted),
        "reason": "" if lasted is None else "recovered",
    }  # fmt: skip
    return Alert.objects.create(**given | fields)


class Agent:
    """A watch that looks when the test says so, and a writer that writes at once."""

    def __init__(self, writer: Writer) -> None:
        self.writer = writer
        self.restart()

    def restart(self) -> None:
        """What a killed agent leaves behind is in the database alone."""
        self.writer.waiting.clear()
        self.watch = Watch(this_host(), self.writer.put_batch, lambda: 0)

    def look(self, *ends: int) -> None:
        for end in ends:
            self.watch.look(end)
            self.writer.drain()

    def follow(self, start: int, end: int) -> None:
        self.look(*range(start, end + 1, RAW.width))


def told() -> list[tuple[str, dict[str, Any]]]:
    """Type and data of the events about alerts, oldest first."""
    found = ProgramEvent.objects.filter(type__startswith="alert.").order_by("seq")
    return [(event.type, event.data) for event in found]


def types() -> list[str]:
    return [type_ for type_, _ in told()]


def only() -> Alert:
    return Alert.objects.get()
