from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest

from webhooks.outbox.matching import (
    MatchableEvent,
    MuteRule,
    Subscription,
    active_mute,
    is_pattern,
    matches,
    matches_pattern,
)

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
EVENT = {"type": "program.crashed", "severity": "error", "data": {"exit_code": 3, "tags": ["a"], "text": "boom"}}


def event(type_: str = "program.crashed", **fields: Any) -> MatchableEvent:
    values = {"severity": "error", "program": 7, "tags": frozenset({"game"}), "as_json": lambda: EVENT, **fields}
    return MatchableEvent(type_, **values)


def subscription(*patterns: str, **fields: Any) -> Subscription:
    return Subscription(1, patterns or ("*",), **fields)


@pytest.mark.parametrize(
    ("pattern", "type_", "fits"),
    [
        ("*", "agent.lost", True),
        ("program.*", "program.crashed", True),
        ("program.*", "programs.crashed", False),
        ("program.*", "program", False),
        ("program.crashed", "program.crashed", True),
        ("program.crashed", "program.crashed_twice", False),
    ],
)
def test_a_star_matches_the_rest_of_a_type(pattern: str, type_: str, fits: bool) -> None:
    assert matches_pattern(pattern, type_) is fits


@pytest.mark.parametrize(
    "text", ["", "*.crashed", "program.**", "program.", "pro*", "a b", 3, None, "x" * 41, "(a+)+$"]
)
def test_only_types_and_a_final_star_are_patterns(text: object) -> None:
    assert not is_pattern(text)


def test_severity_and_programs_restrict_a_subscription() -> None:
    assert matches(subscription("program.*", min_severity="error"), event())
    assert not matches(subscription(min_severity="error"), event(severity="warning"))
    assert not matches(subscription("agent.*"), event())
    assert matches(subscription(programs=frozenset({7})), event())
    assert not matches(subscription(programs=frozenset({8})), event())
    assert not matches(subscription(programs=frozenset({8})), event("agent.lost", program=None))


def test_programs_and_tags_add_up() -> None:
    both = subscription(programs=frozenset({8}), tags=frozenset({"game"}))
    assert matches(both, event())
    assert matches(both, event(program=8, tags=frozenset()))
    assert not matches(both, event(tags=frozenset({"bot"})))


def test_the_event_is_serialized_only_for_conditions() -> None:
    def refuse() -> dict[str, Any]:
        raise AssertionError

    assert matches(subscription("program.*"), event(as_json=refuse))
    assert matches(subscription(conditions={"attr": "data.exit_code", "value": 3}), event())


def test_a_mute_applies_to_its_time_endpoint_and_program() -> None:
    mute = MuteRule(endpoint=1, program=7, starts_at=NOW, ends_at=NOW + timedelta(hours=1))
    assert mute.applies(1, 7, NOW)
    assert not mute.applies(2, 7, NOW)
    assert not mute.applies(1, None, NOW)
    assert not mute.applies(1, 7, NOW - timedelta(seconds=1))
    assert not mute.applies(1, 7, NOW + timedelta(hours=1))
    assert MuteRule(None, None, NOW).applies(5, None, NOW + timedelta(days=400))


def test_a_maintenance_window_recurs_in_local_time() -> None:
    local = NOW.astimezone()
    window = MuteRule(None, None, NOW - timedelta(days=9), cron="30 4 * * *", cron_length=timedelta(minutes=20))
    for minute, is_muted in ((29, False), (30, True), (49, True), (50, False)):
        at = local.replace(hour=4, minute=minute, second=1)
        assert bool(active_mute([window], 1, None, at)) is is_muted


@pytest.mark.parametrize(
    ("cron", "minutes", "open_from"),
    [
        ("30 2 * * *", 60, 30),  # in the hour that is repeated, from 0:00 to 2:00 UTC
        ("0 2 * * *", 60, 0),
        ("30 2 * * *", 20, 30),
        ("30 2 * * *", 240, 30),
        ("15 1 * * *", 60, -45),
        ("45 2 25 10 *", 15, 45),
        ("0 3 * * *", 60, 120),
    ],
)
def test_a_window_in_the_repeated_hour_of_autumn_is_open_once(
    monkeypatch: pytest.MonkeyPatch, cron: str, minutes: int, open_from: int
) -> None:
    monkeypatch.setenv("TZ", "Europe/Berlin")
    window = MuteRule(None, None, NOW - timedelta(days=90), cron=cron, cron_length=timedelta(minutes=minutes))
    change = datetime(2026, 10, 25, tzinfo=UTC)
    muted = [m for m in range(-10, 400, 5) if window.is_active(change + timedelta(minutes=m))]
    expected = [m for m in range(-10, 400, 5) if open_from <= m < open_from + minutes]
    assert muted == expected


@pytest.mark.parametrize("zone", ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "UTC"])
def test_a_daily_window_is_open_as_often_as_there_are_days(monkeypatch: pytest.MonkeyPatch, zone: str) -> None:
    monkeypatch.setenv("TZ", zone)
    start = datetime(2026, 1, 1, 12, tzinfo=UTC)
    window = MuteRule(None, None, start, cron="40 1 * * *", cron_length=timedelta(minutes=30))
    states = [window.is_active(start + timedelta(minutes=5 * step)) for step in range(365 * 288)]
    assert sum(not before and after for before, after in pairwise(states)) == 365


def test_a_maintenance_window_uses_the_time_zone_of_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Asia/Seoul")
    window = MuteRule(None, None, NOW - timedelta(days=9), cron="0 3 * * *", cron_length=timedelta(minutes=20))
    assert active_mute([window], 1, None, datetime(2026, 11, 23, 18, 5, tzinfo=UTC))
    assert not active_mute([window], 1, None, datetime(2026, 11, 23, 3, 5, tzinfo=UTC))
