from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.core.exceptions import ValidationError

from webhooks import validation
from webhooks.outbox.conditions import ConditionError, check, holds
from webhooks.outbox.matching import Mute, Subject, Target, silenced_by, wants
from webhooks.outbox.patterns import is_pattern, matches

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
EVENT = {"type": "program.crashed", "severity": "error", "data": {"exit_code": 3, "tags": ["a"], "text": "boom"}}


def subject(type_: str = "program.crashed", **fields: Any) -> Subject:
    values = {"severity": "error", "program": 7, "tags": frozenset({"game"}), "as_json": lambda: EVENT, **fields}
    return Subject(type_, **values)


def target(*patterns: str, **fields: Any) -> Target:
    return Target(1, patterns or ("*",), **fields)


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
def test_a_star_stands_for_the_rest_of_a_type(pattern: str, type_: str, fits: bool) -> None:
    assert matches(pattern, type_) is fits


@pytest.mark.parametrize(
    "text", ["", "*.crashed", "program.**", "program.", "pro*", "a b", 3, None, "x" * 41, "(a+)+$"]
)
def test_anything_but_types_and_a_final_star_is_no_pattern(text: object) -> None:
    assert not is_pattern(text)


def test_severity_programs_and_tags_narrow_what_an_endpoint_wants() -> None:
    assert wants(target("program.*", min_severity="error"), subject())
    assert not wants(target(min_severity="error"), subject(severity="warning"))
    assert not wants(target("agent.*"), subject())
    assert wants(target(programs=frozenset({7})), subject())
    assert not wants(target(programs=frozenset({8})), subject())
    assert not wants(target(programs=frozenset({8})), subject("agent.lost", program=None))


def test_programs_and_tags_add_up() -> None:
    both = target(programs=frozenset({8}), tags=frozenset({"game"}))
    assert wants(both, subject())
    assert wants(both, subject(program=8, tags=frozenset()))
    assert not wants(both, subject(tags=frozenset({"bot"})))


def test_the_event_becomes_json_only_for_conditions() -> None:
    def refuse() -> dict[str, Any]:
        raise AssertionError

    assert wants(target("program.*"), subject(as_json=refuse))
    assert wants(target(conditions={"attr": "data.exit_code", "value": 3}), subject())


@pytest.mark.parametrize(
    ("condition", "is_true"),
    [
        ({}, True),
        ({"attr": "data.exit_code", "value": 3}, True),
        ({"attr": "data.exit_code", "op": "gte", "value": 4}, False),
        ({"attr": "data.exit_code", "op": "gt", "value": "2"}, False),
        ({"attr": "data.absent", "op": "lt", "value": 5}, False),
        ({"attr": "data.absent.deeper", "value": None}, True),
        ({"attr": "data.exit_code", "op": "in", "value": [1, 3]}, True),
        ({"attr": "data.tags", "op": "contains", "value": "a"}, True),
        ({"attr": "data", "op": "contains", "value": ["unhashable"]}, False),
        ({"attr": "data.text", "op": "contains", "value": "oo"}, True),
        ({"not": {"attr": "type", "value": "program.crashed"}}, False),
        (
            {"and": [{"attr": "severity", "value": "error"}, {"attr": "data.exit_code", "op": "ne", "value": 3}]},
            False,
        ),
        (
            {"or": [{"attr": "severity", "value": "info"}, {"attr": "data.exit_code", "op": "lte", "value": 3}]},
            True,
        ),
    ],
)
def test_conditions_compare_and_combine(condition: dict[str, Any], is_true: bool) -> None:
    check(condition)
    assert holds(condition, EVENT) is is_true


DEEP: Any = {"attr": "a", "value": 1}
for _ in range(9):
    DEEP = {"not": DEEP}


@pytest.mark.parametrize(
    "condition",
    [
        None,
        [],
        {"attr": "a"},
        {"attr": "", "value": 1},
        {"attr": "a", "value": 1, "op": "regex"},
        {"attr": "a", "value": 1, "op": ["eq"]},
        {"attr": "a", "value": 1, "more": 2},
        {"attr": "a", "op": "in", "value": "text"},
        {"and": []},
        {"xor": [{"attr": "a", "value": 1}]},
        {"and": [{}], "or": [{}]},
        {"and": [{}]},
        {"or": [{"attr": "a", "value": n} for n in range(101)]},
        DEEP,
    ],
)
def test_conditions_that_mean_nothing_are_refused(condition: Any) -> None:
    with pytest.raises(ConditionError):
        check(condition)


def test_a_mute_covers_its_time_its_endpoint_and_its_program() -> None:
    mute = Mute(endpoint=1, program=7, starts_at=NOW, ends_at=NOW + timedelta(hours=1))
    assert mute.covers(1, 7, NOW)
    assert not mute.covers(2, 7, NOW)
    assert not mute.covers(1, None, NOW)
    assert not mute.covers(1, 7, NOW - timedelta(seconds=1))
    assert not mute.covers(1, 7, NOW + timedelta(hours=1))
    assert Mute(None, None, NOW).covers(5, None, NOW + timedelta(days=400))


def test_a_maintenance_window_comes_again_by_the_clock_on_the_wall() -> None:
    local = NOW.astimezone()
    window = Mute(None, None, NOW - timedelta(days=9), cron="30 4 * * *", cron_length=timedelta(minutes=20))
    for minute, silent in ((29, False), (30, True), (49, True), (50, False)):
        at = local.replace(hour=4, minute=minute, second=1)
        assert bool(silenced_by([window], 1, None, at)) is silent


def test_a_maintenance_window_is_meant_in_the_time_zone_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Asia/Seoul")
    window = Mute(None, None, NOW - timedelta(days=9), cron="0 3 * * *", cron_length=timedelta(minutes=20))
    assert silenced_by([window], 1, None, datetime(2026, 11, 23, 18, 5, tzinfo=UTC))
    assert not silenced_by([window], 1, None, datetime(2026, 11, 23, 3, 5, tzinfo=UTC))


@pytest.mark.parametrize(
    ("check_value", "good", "bad"),
    [
        (validation.event_patterns, ["program.*"], []),
        (validation.program_ids, [1, 2], [True]),
        (validation.conditions, {}, {"attr": 3}),
        (validation.retry_schedule, [], [0]),
        (validation.retry_schedule, [5, 30.5], ["5"]),
        (validation.retry_schedule, [604_800], [float("nan")]),
        (validation.timeout, 30, 31),
        (validation.concurrency, 10, 0),
        (validation.rate, 0.01, 0),
        (validation.bundle, 3600, -1),
    ],
)
def test_each_field_of_an_endpoint_has_its_bounds(check_value: Any, good: Any, bad: Any) -> None:
    check_value(good)
    with pytest.raises(ValidationError):
        check_value(bad)
