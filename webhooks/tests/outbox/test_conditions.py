from __future__ import annotations

from typing import Any

import pytest

from webhooks.outbox.conditions import ConditionError, evaluate, validate

EVENT = {"type": "program.crashed", "severity": "error", "data": {"exit_code": 3, "tags": ["a"], "text": "boom"}}


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
    validate(condition)
    assert evaluate(condition, EVENT) is is_true


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
def test_invalid_conditions_are_refused(condition: Any) -> None:
    with pytest.raises(ConditionError):
        validate(condition)
