"""The alerts that an agent opens and resolves, evaluation by evaluation."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

import pytest
from django.db import OperationalError
from django.utils import timezone

from metrics.alerts.models import Alert, AlertRule, Metric
from metrics.alerts.policy import MetricReading, Thresholds
from metrics.alerts.selectors import MetricReader, Presence
from metrics.alerts.units import METRIC_SPECS
from metrics.models import OpenPeriod
from metrics.queries.measures import PROGRAM_MEASURES, ProgramSource
from metrics.queries.series import plan_series, read_series, select_aggregates
from metrics.storage.tiers import MINUTE, RAW
from metrics.tests.history import store_usage
from programs.models import Host, Program, ProgramEvent

from .factories import (
    NOW,
    FakeAgent,
    alert_events,
    event_types,
    only_alert,
    program,
    record_host,
    record_usage,
    rule,
)


def at(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def read(metric: str, end: int, window: int, about: Program) -> MetricReading:
    thresholds = Thresholds(is_above=True, threshold=0, clear_threshold=0, window=window)
    reader = MetricReader(end, Presence(frozenset(), is_complete=True))
    return reader.readings(METRIC_SPECS[metric], thresholds, None, [about.pk])[about.pk]


def test_it_fires_when_the_window_is_covered_and_records_the_value(fake_agent: FakeAgent) -> None:
    hot, web = rule(), program()
    record_host(NOW, NOW + 60)
    end = record_usage(web, NOW, [95] * 6)
    fake_agent.evaluate_each(NOW + 10, end)
    alert = only_alert()
    assert (alert.rule, alert.program, alert.value, alert.threshold) == (hot, web, 95, 90)
    assert alert.started_at == at(NOW + 50)  # 75 % of a minute are 45 seconds
    event = ProgramEvent.objects.get(type="alert.firing")
    assert (event.program, event.severity, event.timestamp) == (web, "warning", alert.started_at)
    assert event.data == {
        "alert": alert.pk, "rule": "hot", "rule_id": hot.pk, "metric": "cpu_percent", "measure": "CPU",
        "unit": "percent", "condition": "above", "threshold": 90, "value": 95, "window_seconds": 60,
    }  # fmt: skip


def test_it_fires_once_and_updates_the_extremes(fake_agent: FakeAgent) -> None:
    rule(severity="error")
    record_host(NOW, NOW + 300)
    end = record_usage(program(), NOW, [95] * 6 + [100] * 12)
    fake_agent.evaluate_each(NOW + 10, end)
    assert event_types() == ["alert.firing"]
    assert (only_alert().value, only_alert().lowest, only_alert().highest, only_alert().severity) == (
        95,
        95,
        100,
        "error",
    )


def test_it_resolves_at_the_clear_threshold(fake_agent: FakeAgent) -> None:
    rule(clear_threshold=50)
    record_host(NOW, NOW + 300)
    end = record_usage(program(), NOW, [95] * 6 + [70] * 10 + [30] * 10)
    fake_agent.evaluate_each(NOW + 10, end)
    assert event_types() == ["alert.firing", "alert.resolved"]
    alert = only_alert()
    assert (alert.reason, alert.resolved_at) == (
        "recovered",
        at(NOW + 190),
    )  # when the average over a minute is 50
    data = alert_events()[1][1]
    assert (data["value"], data["reason"], data["why"], data["seconds"]) == (50, "recovered", "recovered", 140)


def test_a_stopped_program_resolves_its_alert_after_three_points(fake_agent: FakeAgent) -> None:
    rule()
    record_host(NOW, NOW + 300)
    end = record_usage(program(), NOW, [95] * 8)
    fake_agent.evaluate_each(NOW + 10, end + 60)
    assert (only_alert().reason, only_alert().resolved_at) == ("stopped", at(end + 30))
    assert "value" in alert_events()[1][1]


def test_a_gap_of_the_agent_does_not_count_as_a_stop(fake_agent: FakeAgent) -> None:
    rule()
    web = program()
    record_host(NOW, NOW + 80)
    end = record_usage(web, NOW, [95] * 8)
    fake_agent.evaluate_each(NOW + 10, end)
    again = end + 3600  # the agent was down for an hour
    record_host(again, again + 100)
    record_usage(web, again + 10, [95] * 9)  # the first sample has no usage
    fake_agent.restart()
    fake_agent.evaluate_each(again, again + 100)
    assert event_types() == ["alert.firing"]
    assert only_alert().resolved_at is None


def test_a_program_that_just_started_does_not_fire(fake_agent: FakeAgent) -> None:
    rule(window_seconds=300)
    record_host(NOW, NOW + 300)
    end = record_usage(program(), NOW, [400] * 3)
    fake_agent.evaluate_each(NOW + 10, end)
    assert not alert_events()


def test_a_value_around_the_threshold_changes_state_once_per_window(fake_agent: FakeAgent) -> None:
    rule(window_seconds=60)
    record_host(NOW, NOW + 600)
    end = record_usage(program(), NOW, [95, 80, 101, 84] * 15)
    fake_agent.evaluate_each(NOW + 10, end)
    timestamps = sorted(
        timestamp
        for pair in Alert.objects.values_list("started_at", "resolved_at")
        for timestamp in pair
        if timestamp
    )
    assert all((later - earlier).total_seconds() >= 60 for earlier, later in pairwise(timestamps))
    assert len(timestamps) <= 10


def test_values_before_a_restart_do_not_fire_again(fake_agent: FakeAgent) -> None:
    rule()
    web = program()
    record_host(NOW, NOW + 600)
    end = record_usage(web, NOW, [95] * 6 + [None] * 4 + [5] * 20)
    fake_agent.evaluate_each(NOW + 10, end)
    assert event_types() == ["alert.firing", "alert.resolved"]


def test_a_rule_applies_to_its_programs_and_its_tags(fake_agent: FakeAgent) -> None:
    one, two = program("one"), program("two", tags=["front"])
    rule(programs=[one.pk], tags=["front"])
    record_host(NOW, NOW + 60)
    for each in (one, two, program("three")):
        end = record_usage(each, NOW, [95] * 6)
    fake_agent.evaluate_each(NOW + 10, end)
    assert set(Alert.objects.values_list("program_name", flat=True)) == {"one", "two"}


def test_a_rule_may_fire_below_a_threshold(fake_agent: FakeAgent) -> None:
    rule(condition="below", threshold=1, clear_threshold=2)
    record_host(NOW, NOW + 300)
    end = record_usage(program(), NOW, [0.5] * 6 + [10] * 6)
    fake_agent.evaluate_each(NOW + 10, end)
    assert event_types() == ["alert.firing", "alert.resolved"]


@pytest.mark.parametrize(
    ("metric", "values", "threshold", "value"),
    [
        ("memory_bytes", {"memory": 3000}, 2000, 3000),
        ("threads", {"threads_max": 7}, 5, 7),
        ("open_files", {"open_files_max": 9}, 5, 9),
        ("read_bytes_per_second", {"read_bytes": 5000}, 400, 500),
        ("write_bytes_per_second", {"write_bytes": 5000}, 400, 500),
    ],
)
def test_a_rule_can_use_every_metric(
    fake_agent: FakeAgent, metric: str, values: dict[str, Any], threshold: float, value: float
) -> None:
    rule(metric=metric, threshold=threshold)
    record_host(NOW, NOW + 60)
    end = record_usage(program(), NOW, [1] * 6, **values)
    fake_agent.evaluate_each(NOW + 10, end)
    assert only_alert().value == value


def test_alert_metrics_are_the_measures_of_programs() -> None:
    assert list(Metric.values) == list(PROGRAM_MEASURES) == list(METRIC_SPECS)


@pytest.mark.parametrize("metric", PROGRAM_MEASURES)
def test_a_value_equals_that_of_the_chart(db: None, metric: str) -> None:
    web = program()
    record_host(NOW, NOW + 10)
    for number, load in enumerate([3.17, 99.99, 41.2, 0, 7.77, 12.5]):
        extras = {"threads_max": number + 1, "open_files_max": 10 - number, "read_bytes": 333 * number}
        store_usage(RAW, web, NOW + 10 * number, cpu=load, memory=1001 + number, write_bytes=77 * number, **extras)
    found = read(metric, NOW + 60, 60, web)
    series_plan = plan_series(NOW, NOW + 60, step=60, now=NOW + 60)
    charted = read_series(
        ProgramSource([web.pk]),
        series_plan,
        select_aggregates(PROGRAM_MEASURES, [metric], ["avg", "max"]),
        NOW + 60,
    )
    aggregates = charted[web.pk][metric]
    assert found.value == pytest.approx(aggregates.get("avg", aggregates.get("max", []))[0][1], abs=0.01)


def test_a_long_window_reads_minutes_and_points_at_its_edges(fake_agent: FakeAgent) -> None:
    web = program()
    record_host(NOW, NOW + 660)
    for minute in range(10):
        store_usage(MINUTE, web, NOW + 60 * minute, cpu=50)
    record_usage(web, NOW, [50] * 66)
    OpenPeriod.objects.update(period=NOW + 600)
    found = read("cpu_percent", NOW + 650, 600, web)
    assert (found.value, found.covered) == (50, 600)


# --- Rules and programs that change -----------------------------------------------------------------------


@pytest.fixture
def firing(fake_agent: FakeAgent) -> tuple[FakeAgent, int]:
    """An agent with a firing alert, and the time of its last evaluation."""
    rule()
    record_host(NOW, NOW + 600)
    record_usage(program(), NOW, [95] * 30)
    fake_agent.evaluate_each(NOW + 10, NOW + 120)
    assert only_alert().resolved_at is None
    return fake_agent, NOW + 120


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"enabled": False}, "rule_changed"),
        ({"programs": [999]}, "rule_changed"),
        ({"tags": ["back"]}, "rule_changed"),
        ({"condition": "below"}, "rule_changed"),
        ({"metric": "threads"}, "rule_changed"),
        ({"threshold": 97.0}, "rule_changed"),
        ({"threshold": 92.0}, ""),
        ({"window_seconds": 30, "severity": "info", "name": "other"}, ""),
    ],
)
def test_a_changed_rule_resolves_alerts_that_no_longer_match(
    firing: tuple[FakeAgent, int], changes: dict[str, Any], reason: str
) -> None:
    agent, end = firing
    AlertRule.objects.update(**changes, revision=2)
    agent.evaluate(end + 10)
    assert Alert.objects.earliest("pk").reason == reason


def test_a_removed_rule_resolves_its_alerts_and_keeps_its_name(firing: tuple[FakeAgent, int]) -> None:
    agent, end = firing
    AlertRule.objects.get().delete()
    agent.evaluate(end + 10)
    assert (only_alert().reason, only_alert().rule_name, only_alert().rule) == ("rule_removed", "hot", None)
    assert alert_events()[1][1]["why"] == "the rule was removed"


@pytest.mark.parametrize("is_gone", [True, False])
def test_a_removed_program_resolves_its_alerts(firing: tuple[FakeAgent, int], is_gone: bool) -> None:
    agent, end = firing
    Program.everything.update(removed_at=timezone.now())
    if is_gone:
        Program.everything.all().delete()
    agent.evaluate(end + 10)
    assert (only_alert().reason, only_alert().program_name) == ("program_removed", "web")
    assert ProgramEvent.objects.get(type="alert.resolved").program_name == "web"


def test_a_rule_changed_after_the_decision_does_not_fire(fake_agent: FakeAgent) -> None:
    rule()
    record_host(NOW, NOW + 60)
    end = record_usage(program(), NOW, [95] * 6)
    fake_agent.service.evaluate(end)
    AlertRule.objects.update(threshold=99, revision=2)
    fake_agent.writer.drain()
    assert not alert_events()


# --- Several hosts ----------------------------------------------------------------------------------------


def test_programs_of_another_host_are_ignored(fake_agent: FakeAgent) -> None:
    rule()
    other = Host.objects.create(name="other")
    record_host(NOW, NOW + 60)
    end = record_usage(program(host=other), NOW, [95] * 6)
    fake_agent.evaluate(end)
    assert not alert_events()


def test_the_alert_of_a_moved_program_belongs_to_its_new_host(firing: tuple[FakeAgent, int]) -> None:
    agent, end = firing
    other = Host.objects.create(name="other")
    Program.objects.update(host=other)
    agent.evaluate(end + 10)
    assert only_alert().resolved_at is None
    agent.service._host = other
    agent.evaluate(end + 60)
    assert only_alert().resolved_at is None  # the new host has not sampled yet


# --- Killed agents and database outages -------------------------------------------------------------------


def test_an_agent_killed_before_writing_fires_at_its_next_evaluation(fake_agent: FakeAgent) -> None:
    rule()
    record_host(NOW, NOW + 100)
    end = record_usage(program(), NOW, [95] * 7)
    fake_agent.service.evaluate(end)
    fake_agent.restart()
    fake_agent.evaluate(end + 10)
    assert event_types() == ["alert.firing"]


def test_an_agent_killed_after_writing_does_not_fire_again(firing: tuple[FakeAgent, int]) -> None:
    agent, end = firing
    agent.restart()
    agent.evaluate_each(end, end + 60)
    assert event_types() == ["alert.firing"]


def test_a_decision_made_twice_is_written_once(fake_agent: FakeAgent) -> None:
    rule()
    record_host(NOW, NOW + 100)
    end = record_usage(program(), NOW, [95] * 7)
    other = FakeAgent(fake_agent.writer).service
    other.evaluate(end)
    fake_agent.service.evaluate(end)
    fake_agent.writer.drain()
    assert event_types() == ["alert.firing"]


def test_alert_and_event_are_written_in_one_transaction(
    fake_agent: FakeAgent, monkeypatch: pytest.MonkeyPatch
) -> None:
    rule()
    record_host(NOW, NOW + 100)
    end = record_usage(program(), NOW, [95] * 7)

    def busy(*args: Any, **kwargs: Any) -> None:
        raise OperationalError("database is locked")

    with monkeypatch.context() as broken:
        broken.setattr("metrics.alerts.writer.events.record", busy)
        with pytest.raises(OperationalError):
            fake_agent.evaluate(end)
    assert not Alert.objects.exists()
    fake_agent.writer.drain()
    assert event_types() == ["alert.firing"]


def test_many_alerts_are_written_in_slices(fake_agent: FakeAgent, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("metrics.alerts.service.SLICE_ALERTS", 2)
    rule()
    record_host(NOW, NOW + 60)
    for number in range(5):
        end = record_usage(program(f"p{number}"), NOW, [95] * 6)
    fake_agent.service.evaluate(end)
    assert fake_agent.writer.drain() == 3
    assert event_types() == ["alert.firing"] * 5


# --- Number of queries ------------------------------------------------------------------------------------


def test_without_rules_an_evaluation_is_one_query(fake_agent: FakeAgent, django_assert_num_queries: Any) -> None:
    fake_agent.evaluate(NOW)
    with django_assert_num_queries(1):
        fake_agent.evaluate(NOW + 10)


def test_an_evaluation_needs_one_query_per_rule(fake_agent: FakeAgent, django_assert_num_queries: Any) -> None:
    rule("one")
    record_host(NOW, NOW + 200)
    record_usage(program("p"), NOW, [50] * 12)
    with django_assert_num_queries(8):
        fake_agent.evaluate(NOW + 100)
    for number in range(20):
        record_usage(program(f"p{number}"), NOW, [50] * 12)
    rule("two", window_seconds=100)
    with django_assert_num_queries(9):
        fake_agent.evaluate(NOW + 110)
