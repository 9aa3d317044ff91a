"""A backtest finds exactly the alerts of the agent, within its limits."""

from __future__ import annotations

import random
from collections import defaultdict
from typing import Any

import pytest
from django.core.exceptions import ValidationError

from metrics.alerts import backtest as backtests
from metrics.alerts.backtest import BacktestResult, backtest, plan_backtest
from metrics.alerts.models import Alert, AlertRule
from metrics.models import OpenPeriod
from metrics.storage.tiers import HOUR, MINUTE, RAW, TEN_MINUTES
from metrics.tests.history import store_host_usage, store_usage
from programs.hosts import this_host

from .factories import NOW, FakeAgent, program, record_host, record_usage, rule

HOUR_SECONDS = 3600
Outline = tuple[int, int | None, str, float, float, float]


def simulated(outcome: BacktestResult) -> dict[str, list[Outline]]:
    """Simulated alerts by program."""
    return {
        one.name: [(e.started_at, e.resolved_at, e.reason, e.value, e.highest, e.lowest) for e in one.episodes]
        for one in outcome.programs
    }


def actual(to: AlertRule) -> dict[str, list[Outline]]:
    """The same for the stored alerts of a rule."""
    found = defaultdict(list)
    for alert in Alert.objects.filter(rule=to).order_by("program_name", "started_at"):
        end = int(alert.resolved_at.timestamp()) if alert.resolved_at else None
        figures = (alert.value, alert.highest, alert.lowest)
        found[alert.program_name].append((int(alert.started_at.timestamp()), end, alert.reason, *figures))
    return dict(found)


def random_loads(dice: random.Random, length: int) -> list[float | None]:
    """Random CPU percentages that stay at a level for a while, with gaps (None)."""
    loads: list[float | None] = []
    while len(loads) < length:
        level = dice.choice([None, 5, 60, 85, 90, 95, 130])
        stay = dice.randint(1, 12)
        loads += [None if level is None else level + dice.uniform(-8, 8) for _ in range(stay)]
    return loads[:length]


@pytest.mark.parametrize("seed", range(10))
def test_a_backtest_finds_exactly_the_alerts_of_the_agent(fake_agent: FakeAgent, seed: int) -> None:
    dice = random.Random(seed)
    rules = [
        rule("plain"),
        rule("steady", clear_threshold=60.0, window_seconds=120),
        rule("quick", window_seconds=10),
        rule("idle", condition="below", threshold=70.0, clear_threshold=80.0, window_seconds=45),
        rule("threads", metric="threads", threshold=4, window_seconds=90),
        rule("reads", metric="read_bytes_per_second", threshold=50, window_seconds=60),
    ]
    length, timestamp = 80, NOW
    for number in range(3):
        about = program(f"p{number}")
        for place, load in enumerate(random_loads(dice, length)):
            extras: Any = {
                "threads_max": dice.randint(1, 6),
                "read_bytes": dice.choice([None, 0, 500, 900]),
                "covered_ms": dice.choice([10_000, 10_000, 9_700, 4_000]),
            }
            if load is not None:
                store_usage(RAW, about, NOW + 10 * place, cpu=load, **extras)
    end = NOW + 10 * length
    while timestamp < end:  # the agent is down now and then
        stay = 10 * dice.randint(1, 30)
        record_host(timestamp, min(end, timestamp + stay))
        timestamp += stay + 10 * dice.choice([0, 1, 2, 6])
    fake_agent.evaluate_each(NOW + 10, end)
    assert Alert.objects.count() > 3
    for each in rules:
        assert simulated(backtest(each, NOW, end, end)) == actual(each), each.name


def test_a_backtest_lists_programs_and_alerts(db: None) -> None:
    record_host(NOW, NOW + 600)
    record_usage(program("hot"), NOW, [95] * 20 + [5] * 20)
    record_usage(program("calm"), NOW, [5] * 40)
    found = backtest(AlertRule(metric="cpu_percent", threshold=90, window_seconds=60), NOW, NOW + 400, NOW + 400)
    assert (found.judged, found.total, [one.name for one in found.programs]) == (2, 1, ["hot"])
    (episode,) = found.programs[0].episodes
    assert (episode.started_at, episode.reason, episode.value) == (NOW + 50, "recovered", 95)
    assert not Alert.objects.exists()


def test_the_first_window_reaches_back_before_the_start(db: None) -> None:
    record_host(NOW - 600, NOW + 100)
    record_usage(program(), NOW - 300, [95] * 40)
    found = backtest(AlertRule(metric="cpu_percent", threshold=90, window_seconds=300), NOW, NOW + 100, NOW + 100)
    assert found.programs[0].episodes[0].started_at == NOW + 10


def test_minute_rows_are_evaluated_once_a_minute(db: None) -> None:
    web, start = program(), NOW - 48 * HOUR_SECONDS
    for minute in range(60):
        store_usage(MINUTE, web, start + 60 * minute, cpu=95 if minute < 30 else 5)
        store_host_usage(this_host(), MINUTE, start + 60 * minute)
    short = AlertRule(metric="cpu_percent", threshold=90, window_seconds=10)
    found = backtest(short, start, start + HOUR_SECONDS, NOW)
    assert (found.plan.step, found.plan.window, found.plan.tier) == (60, 60, MINUTE)
    assert simulated(found) == {"web": [(start + 60, start + 1860, "recovered", 95, 95, 95)]}


def test_minutes_not_rolled_up_yet_are_read_from_points(db: None) -> None:
    start = NOW - 48 * HOUR_SECONDS
    web = program()
    record_host(NOW - 600, NOW)
    record_usage(web, NOW - 600, [95] * 60)
    OpenPeriod.objects.update(period=NOW - 600)
    for minute in range(10):
        OpenPeriod.objects.create(host=this_host(), tier="minute", period=NOW - 600 + 600 * minute)
    rule_ = AlertRule(metric="cpu_percent", threshold=90, window_seconds=300)
    found = backtest(rule_, start, NOW, NOW)
    assert simulated(found) == {"web": [(NOW - 600 + 240, None, "", 95, 95, 95)]}


@pytest.mark.parametrize(
    ("hours", "window", "programs", "tier"),
    [
        (1, 300, 1, RAW),
        (20, 300, 1, RAW),
        (24, 300, 1, MINUTE),  # the first window is older than the stored points
        (168, 300, 1, MINUTE),
        (168, 3600, 1000, TEN_MINUTES),
        (20, 300, 1000, MINUTE),
        (24 * 30, 60, 1, HOUR),
    ],
)
def test_the_finest_tier_within_the_limit_is_used(hours: int, window: int, programs: int, tier: Any) -> None:
    plan = plan_backtest(AlertRule(window_seconds=window), programs, NOW - hours * HOUR_SECONDS, NOW, NOW)
    assert plan.tier is tier
    assert plan.window % plan.step == 0
    assert plan.window >= max(window, plan.step)


def test_too_many_points_are_refused() -> None:
    with pytest.raises(ValidationError, match="10,080,000 points") as refused:
        plan_backtest(AlertRule(window_seconds=300), 1000, NOW - 168 * HOUR_SECONDS, NOW, NOW)
    assert "hours" in refused.value.message_dict


def test_only_programs_that_exceeded_the_threshold_are_simulated(
    db: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    record_host(NOW, NOW + 600)
    for number in range(5):
        record_usage(program(f"calm{number}"), NOW, [50] * 60)
    record_usage(program("hot"), NOW, [95] * 60)
    monkeypatch.setattr(backtests, "MAX_STEPS", 60)
    hot = AlertRule(metric="cpu_percent", threshold=90, window_seconds=60)
    assert backtest(hot, NOW, NOW + 600, NOW + 600).total == 1
    record_usage(program("another"), NOW, [95] * 60)
    with pytest.raises(ValidationError, match="120 points exceed the limit of 60"):
        backtest(hot, NOW, NOW + 600, NOW + 600)


def test_all_alerts_are_counted_though_the_list_is_limited(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backtests, "MAX_LISTED", 2)
    record_host(NOW, NOW + 800)
    for number in range(2):
        record_usage(program(f"p{number}"), NOW, ([95] * 5 + [5] * 5) * 4)
    quick = AlertRule(metric="cpu_percent", threshold=90, window_seconds=10)
    found = backtest(quick, NOW, NOW + 400, NOW + 400)
    assert (found.total, found.is_truncated, [len(one.episodes) for one in found.programs]) == (8, True, [2])


@pytest.mark.parametrize(("start", "end"), [(NOW, NOW), (NOW + 10, NOW)])
def test_an_end_before_the_start_is_refused(start: int, end: int) -> None:
    with pytest.raises(ValidationError):
        plan_backtest(AlertRule(window_seconds=300), 1, start, end, NOW)


def test_a_future_time_has_no_alerts(db: None) -> None:
    program()
    found = backtest(AlertRule(metric="threads", threshold=1), NOW + 100, NOW + 900, NOW)
    assert found.total == 0


def test_the_number_of_queries_does_not_grow_with_programs(db: None, django_assert_num_queries: Any) -> None:
    hot = AlertRule(metric="cpu_percent", threshold=90, window_seconds=60)
    record_host(NOW, NOW + 600)
    record_usage(program(), NOW, [95] * 60)
    with django_assert_num_queries(11):
        backtest(hot, NOW, NOW + 600, NOW + 600)
    for number in range(10):
        record_usage(program(f"p{number}"), NOW, [95] * 60)
    with django_assert_num_queries(11):
        backtest(hot, NOW, NOW + 600, NOW + 600)
