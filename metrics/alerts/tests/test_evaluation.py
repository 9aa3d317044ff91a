"""What the agent does about a history, look by look."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

import pytest
from django.db import OperationalError
from django.utils import timezone

from metrics.alerts.models import Alert, AlertRule, Metric
from metrics.alerts.policy import Reading, Terms
from metrics.alerts.selectors import Levels, Presence
from metrics.alerts.units import LEVELS
from metrics.models import OpenPeriod
from metrics.queries.measures import PROGRAM_MEASURES, ProgramSource
from metrics.queries.series import plan_series, read_series, select_aggregates
from metrics.storage.tiers import MINUTE, RAW
from metrics.tests.history import store_usage
from programs.models import Host, Program, ProgramEvent

from .rig import NOW, Agent, only, program, ran, rule, told, types, watched


def at(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def read(metric: str, end: int, window: int, about: Program) -> Reading:
    terms = Terms(is_above=True, threshold=0, clear_threshold=0, window=window)
    levels = Levels(end, Presence(frozenset(), is_complete=True))
    return levels.readings(LEVELS[metric], terms, None, [about.pk])[about.pk]


def test_it_fires_when_the_window_is_full_and_says_what_it_saw(looking: Agent) -> None:
    hot, web = rule(), program()
    watched(NOW, NOW + 60)
    end = ran(web, NOW, [95] * 6)
    looking.follow(NOW + 10, end)
    alert = only()
    assert (alert.rule, alert.program, alert.value, alert.threshold) == (hot, web, 95, 90)
    assert alert.started_at == at(NOW + 50)  # three quarters of a minute are 45 seconds
    event = ProgramEvent.objects.get(type="alert.firing")
    assert (event.program, event.severity, event.timestamp) == (web, "warning", alert.started_at)
    assert event.data == {
        "alert": alert.pk, "rule": "hot", "rule_id": hot.pk, "metric": "cpu_percent", "measure": "CPU",
        "unit": "percent", "condition": "above", "threshold": 90, "value": 95, "window_seconds": 60,
    }  # fmt: skip


def test_it_fires_once_and_follows_the_extremes(looking: Agent) -> None:
    rule(severity="error")
    watched(NOW, NOW + 300)
    end = ran(program(), NOW, [95] * 6 + [100] * 12)
    looking.follow(NOW + 10, end)
    assert types() == ["alert.firing"]
    assert (only().value, only().lowest, only().highest, only().severity) == (95, 95, 100, "error")


def test_it_is_over_by_the_clear_threshold(looking: Agent) -> None:
    rule(clear_threshold=50)
    watched(NOW, NOW + 300)
    end = ran(program(), NOW, [95] * 6 + [70] * 10 + [30] * 10)
    looking.follow(NOW + 10, end)
    assert types() == ["alert.firing", "alert.resolved"]
    alert = only()
    assert (alert.reason, alert.resolved_at) == ("recovered", at(NOW + 190))  # when the average of a minute is 50
    data = told()[1][1]
    assert (data["value"], data["reason"], data["why"], data["seconds"]) == (50, "recovered", "recovered", 140)


def test_a_program_that_stopped_ends_its_alert_within_three_points(looking: Agent) -> None:
    rule()
    watched(NOW, NOW + 300)
    end = ran(program(), NOW, [95] * 8)
    looking.follow(NOW + 10, end + 60)
    assert (only().reason, only().resolved_at) == ("stopped", at(end + 30))
    assert "value" in told()[1][1]


def test_while_nobody_looked_nothing_has_stopped(looking: Agent) -> None:
    rule()
    web = program()
    watched(NOW, NOW + 80)
    end = ran(web, NOW, [95] * 8)
    looking.follow(NOW + 10, end)
    again = end + 3600  # the agent was away for an hour
    watched(again, again + 100)
    ran(web, again + 10, [95] * 9)  # the first look has nothing to compare with
    looking.restart()
    looking.follow(again, again + 100)
    assert types() == ["alert.firing"]
    assert only().resolved_at is None


def test_a_program_that_just_started_does_not_fire(looking: Agent) -> None:
    rule(window_seconds=300)
    watched(NOW, NOW + 300)
    end = ran(program(), NOW, [400] * 3)
    looking.follow(NOW + 10, end)
    assert not told()


def test_a_value_that_sways_about_the_threshold_is_told_once_a_window(looking: Agent) -> None:
    rule(window_seconds=60)
    watched(NOW, NOW + 600)
    end = ran(program(), NOW, [95, 80, 101, 84] * 15)
    looking.follow(NOW + 10, end)
    moments = sorted(
        moment for pair in Alert.objects.values_list("started_at", "resolved_at") for moment in pair if moment
    )
    assert all((later - earlier).total_seconds() >= 60 for earlier, later in pairwise(moments))
    assert len(moments) <= 10


def test_a_program_that_stops_and_starts_is_not_judged_by_what_it_did_before(looking: Agent) -> None:
    rule()
    web = program()
    watched(NOW, NOW + 600)
    end = ran(web, NOW, [95] * 6 + [None] * 4 + [5] * 20)
    looking.follow(NOW + 10, end)
    assert types() == ["alert.firing", "alert.resolved"]


def test_programs_and_tags_add_up(looking: Agent) -> None:
    one, two = program("one"), program("two", tags=["front"])
    rule(programs=[one.pk], tags=["front"])
    watched(NOW, NOW + 60)
    for each in (one, two, program("three")):
        end = ran(each, NOW, [95] * 6)
    looking.follow(NOW + 10, end)
    assert set(Alert.objects.values_list("program_name", flat=True)) == {"one", "two"}


def test_a_rule_may_watch_for_too_little(looking: Agent) -> None:
    rule(condition="below", threshold=1, clear_threshold=2)
    watched(NOW, NOW + 300)
    end = ran(program(), NOW, [0.5] * 6 + [10] * 6)
    looking.follow(NOW + 10, end)
    assert types() == ["alert.firing", "alert.resolved"]


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
def test_every_metric_can_be_watched(
    looking: Agent, metric: str, values: dict[str, Any], threshold: float, value: float
) -> None:
    rule(metric=metric, threshold=threshold)
    watched(NOW, NOW + 60)
    end = ran(program(), NOW, [1] * 6, **values)
    looking.follow(NOW + 10, end)
    assert only().value == value


def test_the_metrics_of_rules_are_those_of_the_history() -> None:
    assert list(Metric.values) == list(PROGRAM_MEASURES) == list(LEVELS)


@pytest.mark.parametrize("metric", PROGRAM_MEASURES)
def test_a_value_is_what_the_chart_shows(db: None, metric: str) -> None:
    web = program()
    watched(NOW, NOW + 10)
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


def test_a_long_window_is_read_from_minutes_with_its_ends_from_points(looking: Agent) -> None:
    web = program()
    watched(NOW, NOW + 660)
    for minute in range(10):
        store_usage(MINUTE, web, NOW + 60 * minute, cpu=50)
    ran(web, NOW, [50] * 66)
    OpenPeriod.objects.update(period=NOW + 600)
    found = read("cpu_percent", NOW + 650, 600, web)
    assert (found.value, found.covered) == (50, 600)


# --- Rules and programs that change -----------------------------------------------------------------------


@pytest.fixture
def firing(looking: Agent) -> tuple[Agent, int]:
    """An agent that has an open alert, and the moment of its last look."""
    rule()
    watched(NOW, NOW + 600)
    ran(program(), NOW, [95] * 30)
    looking.follow(NOW + 10, NOW + 120)
    assert only().resolved_at is None
    return looking, NOW + 120


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
def test_a_changed_rule_ends_what_no_longer_follows_from_it(
    firing: tuple[Agent, int], changes: dict[str, Any], reason: str
) -> None:
    agent, end = firing
    AlertRule.objects.update(**changes, revision=2)
    agent.look(end + 10)
    assert Alert.objects.earliest("pk").reason == reason


def test_a_removed_rule_ends_its_alerts_and_leaves_them_readable(firing: tuple[Agent, int]) -> None:
    agent, end = firing
    AlertRule.objects.get().delete()
    agent.look(end + 10)
    assert (only().reason, only().rule_name, only().rule) == ("rule_removed", "hot", None)
    assert told()[1][1]["why"] == "the rule was removed"


@pytest.mark.parametrize("is_gone", [True, False])
def test_a_removed_program_ends_its_alerts(firing: tuple[Agent, int], is_gone: bool) -> None:
    agent, end = firing
    Program.everything.update(removed_at=timezone.now())
    if is_gone:
        Program.everything.all().delete()
    agent.look(end + 10)
    assert (only().reason, only().program_name) == ("program_removed", "web")
    assert ProgramEvent.objects.get(type="alert.resolved").program_name == "web"


def test_a_rule_that_changed_after_the_decision_does_not_fire(looking: Agent) -> None:
    rule()
    watched(NOW, NOW + 60)
    end = ran(program(), NOW, [95] * 6)
    looking.watch.look(end)
    AlertRule.objects.update(threshold=99, revision=2)
    looking.writer.drain()
    assert not told()


# --- Several hosts ----------------------------------------------------------------------------------------


def test_another_host_s_programs_are_left_alone(looking: Agent) -> None:
    rule()
    other = Host.objects.create(name="other")
    watched(NOW, NOW + 60)
    end = ran(program(host=other), NOW, [95] * 6)
    looking.look(end)
    assert not told()


def test_the_alert_of_a_program_that_has_moved_is_the_new_host_s(firing: tuple[Agent, int]) -> None:
    agent, end = firing
    other = Host.objects.create(name="other")
    Program.objects.update(host=other)
    agent.look(end + 10)
    assert only().resolved_at is None
    agent.watch._host = other
    agent.look(end + 60)
    assert only().resolved_at is None  # nobody has looked there yet


# --- An agent that is killed, a database that is away -----------------------------------------------------


def test_an_agent_that_died_before_writing_fires_at_its_next_look(looking: Agent) -> None:
    rule()
    watched(NOW, NOW + 100)
    end = ran(program(), NOW, [95] * 7)
    looking.watch.look(end)
    looking.restart()
    looking.look(end + 10)
    assert types() == ["alert.firing"]


def test_one_that_died_after_writing_does_not_fire_again(firing: tuple[Agent, int]) -> None:
    agent, end = firing
    agent.restart()
    agent.follow(end, end + 60)
    assert types() == ["alert.firing"]


def test_what_was_decided_twice_is_written_once(looking: Agent) -> None:
    rule()
    watched(NOW, NOW + 100)
    end = ran(program(), NOW, [95] * 7)
    other = Agent(looking.writer).watch
    other.look(end)
    looking.watch.look(end)
    looking.writer.drain()
    assert types() == ["alert.firing"]


def test_alert_and_event_are_written_together_or_not_at_all(
    looking: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    rule()
    watched(NOW, NOW + 100)
    end = ran(program(), NOW, [95] * 7)

    def busy(*args: Any, **kwargs: Any) -> None:
        raise OperationalError("database is locked")

    with monkeypatch.context() as broken:
        broken.setattr("metrics.alerts.writer.events.record", busy)
        with pytest.raises(OperationalError):
            looking.look(end)
    assert not Alert.objects.exists()
    looking.writer.drain()
    assert types() == ["alert.firing"]


def test_many_are_written_in_slices(looking: Agent, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("metrics.alerts.service.SLICE", 2)
    rule()
    watched(NOW, NOW + 60)
    for number in range(5):
        end = ran(program(f"p{number}"), NOW, [95] * 6)
    looking.watch.look(end)
    assert looking.writer.drain() == 3
    assert types() == ["alert.firing"] * 5


# --- What it costs ----------------------------------------------------------------------------------------


def test_without_a_rule_it_is_one_small_query(looking: Agent, django_assert_num_queries: Any) -> None:
    looking.look(NOW)
    with django_assert_num_queries(1):
        looking.look(NOW + 10)


def test_a_rule_costs_one_query_however_many_programs_there_are(
    looking: Agent, django_assert_num_queries: Any
) -> None:
    rule("one")
    watched(NOW, NOW + 200)
    ran(program("p"), NOW, [50] * 12)
    with django_assert_num_queries(8):
        looking.look(NOW + 100)
    for number in range(20):
        ran(program(f"p{number}"), NOW, [50] * 12)
    rule("two", window_seconds=100)
    with django_assert_num_queries(9):
        looking.look(NOW + 110)
