"""A rule against the past finds what the agent would have done, and does not do too much for it."""

from __future__ import annotations

import random
from collections import defaultdict
from typing import Any

import pytest
from django.core.exceptions import ValidationError

from metrics.alerts import backtest as backtests
from metrics.alerts.backtest import Outcome, backtest, plan
from metrics.alerts.models import Alert, AlertRule
from metrics.models import OpenPeriod
from metrics.storage.tiers import HOUR, MINUTE, RAW, TEN_MINUTES
from metrics.tests.history import store_host_usage, store_usage
from programs.hosts import this_host

from .rig import NOW, Agent, program, ran, rule, watched

HOUR_SECONDS = 3600
Story = tuple[int, int | None, str, float, float, float]


def stories(outcome: Outcome) -> dict[str, list[Story]]:
    """Program → what happened, in order."""
    return {
        one.name: [(e.started_at, e.resolved_at, e.reason, e.value, e.highest, e.lowest) for e in one.episodes]
        for one in outcome.programs
    }


def happened(to: AlertRule) -> dict[str, list[Story]]:
    """The same from the alerts that there are."""
    found = defaultdict(list)
    for alert in Alert.objects.filter(rule=to).order_by("program_name", "started_at"):
        end = int(alert.resolved_at.timestamp()) if alert.resolved_at else None
        figures = (alert.value, alert.highest, alert.lowest)
        found[alert.program_name].append((int(alert.started_at.timestamp()), end, alert.reason, *figures))
    return dict(found)


def wander(chance: random.Random, length: int) -> list[float | None]:
    """A load that stays for a while at a time, sways, and is now and then not there."""
    loads: list[float | None] = []
    while len(loads) < length:
        level = chance.choice([None, 5, 60, 85, 90, 95, 130])
        stay = chance.randint(1, 12)
        loads += [None if level is None else level + chance.uniform(-8, 8) for _ in range(stay)]
    return loads[:length]


@pytest.mark.parametrize("seed", range(10))
def test_it_finds_exactly_what_the_agent_does(looking: Agent, seed: int) -> None:
    chance = random.Random(seed)
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
        for place, load in enumerate(wander(chance, length)):
            extras: Any = {
                "threads_max": chance.randint(1, 6),
                "read_bytes": chance.choice([None, 0, 500, 900]),
                "covered_ms": chance.choice([10_000, 10_000, 9_700, 4_000]),
            }
            if load is not None:
                store_usage(RAW, about, NOW + 10 * place, cpu=load, **extras)
    end = NOW + 10 * length
    while timestamp < end:  # the agent itself is away now and then
        stay = 10 * chance.randint(1, 30)
        watched(timestamp, min(end, timestamp + stay))
        timestamp += stay + 10 * chance.choice([0, 1, 2, 6])
    looking.follow(NOW + 10, end)
    assert Alert.objects.count() > 3
    for each in rules:
        assert stories(backtest(each, NOW, end, end)) == happened(each), each.name


def test_it_counts_and_names_what_would_have_fired(db: None) -> None:
    watched(NOW, NOW + 600)
    ran(program("hot"), NOW, [95] * 20 + [5] * 20)
    ran(program("calm"), NOW, [5] * 40)
    found = backtest(AlertRule(metric="cpu_percent", threshold=90, window_seconds=60), NOW, NOW + 400, NOW + 400)
    assert (found.judged, found.total, [one.name for one in found.programs]) == (2, 1, ["hot"])
    (episode,) = found.programs[0].episodes
    assert (episode.started_at, episode.reason, episode.value) == (NOW + 50, "recovered", 95)
    assert not Alert.objects.exists()


def test_the_window_reaches_back_before_the_start(db: None) -> None:
    watched(NOW - 600, NOW + 100)
    ran(program(), NOW - 300, [95] * 40)
    found = backtest(AlertRule(metric="cpu_percent", threshold=90, window_seconds=300), NOW, NOW + 100, NOW + 100)
    assert found.programs[0].episodes[0].started_at == NOW + 10


def test_what_is_kept_by_the_minute_is_looked_at_once_a_minute(db: None) -> None:
    web, start = program(), NOW - 48 * HOUR_SECONDS
    for minute in range(60):
        store_usage(MINUTE, web, start + 60 * minute, cpu=95 if minute < 30 else 5)
        store_host_usage(this_host(), MINUTE, start + 60 * minute)
    short = AlertRule(metric="cpu_percent", threshold=90, window_seconds=10)
    found = backtest(short, start, start + HOUR_SECONDS, NOW)
    assert (found.plan.step, found.plan.window, found.plan.tier) == (60, 60, MINUTE)
    assert stories(found) == {"web": [(start + 60, start + 1860, "recovered", 95, 95, 95)]}


def test_the_newest_minutes_come_from_points(db: None) -> None:
    start = NOW - 48 * HOUR_SECONDS
    web = program()
    watched(NOW - 600, NOW)
    ran(web, NOW - 600, [95] * 60)
    OpenPeriod.objects.update(period=NOW - 600)
    for minute in range(10):
        OpenPeriod.objects.create(host=this_host(), tier="minute", period=NOW - 600 + 600 * minute)
    rule_ = AlertRule(metric="cpu_percent", threshold=90, window_seconds=300)
    found = backtest(rule_, start, NOW, NOW)
    assert stories(found) == {"web": [(NOW - 600 + 240, None, "", 95, 95, 95)]}


@pytest.mark.parametrize(
    ("hours", "window", "programs", "tier"),
    [
        (1, 300, 1, RAW),
        (20, 300, 1, RAW),
        (24, 300, 1, MINUTE),  # the first window lies before what is kept of points
        (168, 300, 1, MINUTE),
        (168, 3600, 1000, TEN_MINUTES),
        (20, 300, 1000, MINUTE),
        (24 * 30, 60, 1, HOUR),
    ],
)
def test_it_takes_what_is_fine_enough_and_not_too_much(hours: int, window: int, programs: int, tier: Any) -> None:
    asked = plan(AlertRule(window_seconds=window), programs, NOW - hours * HOUR_SECONDS, NOW, NOW)
    assert asked.tier is tier
    assert asked.window % asked.step == 0
    assert asked.window >= max(window, asked.step)


def test_what_would_be_too_much_is_refused_in_words() -> None:
    with pytest.raises(ValidationError, match="10,080,000 points") as refused:
        plan(AlertRule(window_seconds=300), 1000, NOW - 168 * HOUR_SECONDS, NOW, NOW)
    assert "hours" in refused.value.message_dict


def test_only_programs_that_were_beyond_the_threshold_are_gone_through(
    db: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    watched(NOW, NOW + 600)
    for number in range(5):
        ran(program(f"calm{number}"), NOW, [50] * 60)
    ran(program("hot"), NOW, [95] * 60)
    monkeypatch.setattr(backtests, "MOST_WALKED", 60)
    hot = AlertRule(metric="cpu_percent", threshold=90, window_seconds=60)
    assert backtest(hot, NOW, NOW + 600, NOW + 600).total == 1
    ran(program("another"), NOW, [95] * 60)
    with pytest.raises(ValidationError, match="120 points, and 60 may be"):
        backtest(hot, NOW, NOW + 600, NOW + 600)


def test_all_are_counted_though_not_all_are_listed(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backtests, "MOST_LISTED", 2)
    watched(NOW, NOW + 800)
    for number in range(2):
        ran(program(f"p{number}"), NOW, ([95] * 5 + [5] * 5) * 4)
    quick = AlertRule(metric="cpu_percent", threshold=90, window_seconds=10)
    found = backtest(quick, NOW, NOW + 400, NOW + 400)
    assert (found.total, found.is_cut, [len(one.episodes) for one in found.programs]) == (8, True, [2])


@pytest.mark.parametrize(("start", "end"), [(NOW, NOW), (NOW + 10, NOW)])
def test_the_end_comes_after_the_start(start: int, end: int) -> None:
    with pytest.raises(ValidationError):
        plan(AlertRule(window_seconds=300), 1, start, end, NOW)


def test_a_time_that_has_not_come_holds_nothing(db: None) -> None:
    program()
    found = backtest(AlertRule(metric="threads", threshold=1), NOW + 100, NOW + 900, NOW)
    assert found.total == 0


def test_more_programs_cost_no_more_queries(db: None, django_assert_num_queries: Any) -> None:
    hot = AlertRule(metric="cpu_percent", threshold=90, window_seconds=60)
    watched(NOW, NOW + 600)
    ran(program(), NOW, [95] * 60)
    with django_assert_num_queries(11):
        backtest(hot, NOW, NOW + 600, NOW + 600)
    for number in range(10):
        ran(program(f"p{number}"), NOW, [95] * 60)
    with django_assert_num_queries(11):
        backtest(hot, NOW, NOW + 600, NOW + 600)
