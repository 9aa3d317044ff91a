"""Conditions on an event, as JSON. Pure, and without regular expressions: a person's pattern can hang a server.

{"attr": "data.exit_code", "op": "ne", "value": 0}         one comparison (`op` may be left out: "eq")
{"and": [c, …]}  {"or": [c, …]}  {"not": c}                 several; {} is always true

`attr` is a path into the event's JSON, joined by dots. Operators: eq ne gt gte lt lte in contains. A path that
is not there is null: it equals null and nothing else, and is neither above nor below anything.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from typing import Any

DEEPEST = 8
MOST = 100


class ConditionError(ValueError):
    """Says what is wrong with a condition."""


def _ordered(compare: Callable[[Any, Any], bool]) -> Callable[[Any, Any], bool]:
    """Numbers with numbers and text with text; anything else does not compare, so it does not hold."""

    def holds(found: Any, wanted: Any) -> bool:
        both_numbers = _is_number(found) and _is_number(wanted)
        both_texts = isinstance(found, str) and isinstance(wanted, str)
        return (both_numbers or both_texts) and compare(found, wanted)

    return holds


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _contains(found: Any, wanted: Any) -> bool:
    if isinstance(found, list):
        return wanted in found
    return isinstance(found, str | dict) and isinstance(wanted, str) and wanted in found


OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "eq": operator.eq,
    "ne": operator.ne,
    "gt": _ordered(operator.gt),
    "gte": _ordered(operator.ge),
    "lt": _ordered(operator.lt),
    "lte": _ordered(operator.le),
    "in": lambda found, wanted: found in wanted,
    "contains": _contains,
}


def holds(condition: Mapping[str, Any], event: Mapping[str, Any]) -> bool:
    """Whether a condition that passed `check` is true of an event's JSON."""
    if not condition:
        return True
    if "attr" in condition:
        found = _look_up(event, condition["attr"])
        return bool(OPERATORS[condition.get("op", "eq")](found, condition["value"]))
    ((word, inner),) = condition.items()
    if word == "not":
        return not holds(inner, event)
    return (all if word == "and" else any)(holds(each, event) for each in inner)


def _look_up(event: Mapping[str, Any], path: str) -> Any:
    found: Any = event
    for key in path.split("."):
        if not isinstance(found, Mapping) or key not in found:
            return None
        found = found[key]
    return found


def check(condition: Any) -> None:
    """Raises ConditionError unless `condition` can be evaluated."""
    if condition != {}:
        left = _check(condition, DEEPEST, MOST)
        if left < 0:
            raise ConditionError(f"At most {MOST} comparisons.")


def _check(condition: Any, depth: int, left: int) -> int:
    """How many more comparisons there may be."""
    if depth == 0:
        raise ConditionError(f"Conditions go at most {DEEPEST} deep.")
    if not isinstance(condition, Mapping):
        raise ConditionError('A condition is an object, for example {"attr": "data.exit_code", "value": 1}.')
    if "attr" in condition:
        _check_comparison(condition)
        return left - 1
    if len(condition) != 1 or (word := next(iter(condition))) not in ("and", "or", "not"):
        raise ConditionError('A condition has "attr", or exactly one of "and", "or" and "not".')
    return _check_inner(word, condition[word], depth - 1, left)


def _check_inner(word: str, inner: Any, depth: int, left: int) -> int:
    if word == "not":
        return _check(inner, depth, left)
    if not isinstance(inner, list) or not inner:
        raise ConditionError(f'"{word}" needs a list of conditions.')
    for each in inner:
        left = _check(each, depth, left)
    return left


def _check_comparison(condition: Mapping[str, Any]) -> None:
    if unknown := condition.keys() - {"attr", "op", "value"}:
        raise ConditionError(f"A comparison has attr, op and value, not {', '.join(sorted(unknown))}.")
    attr, op = condition["attr"], condition.get("op", "eq")
    if not isinstance(attr, str) or not attr or "\x00" in attr or "value" not in condition:
        raise ConditionError('"attr" must be a path such as data.exit_code, and there must be a "value".')
    if not isinstance(op, str) or op not in OPERATORS:
        raise ConditionError(f'"op" must be one of {", ".join(OPERATORS)}.')
    if not _is_plain(condition["value"]):
        raise ConditionError('"value" must be a text, a number, true, false, null, or a list of such.')
    if op == "in" and not isinstance(condition["value"], list):
        raise ConditionError('"in" needs a list as its "value".')


def _is_plain(value: Any) -> bool:
    """What a database can hold and a person can read."""
    return all(
        each is None or (isinstance(each, str) and "\x00" not in each) or isinstance(each, bool | int | float)
        for each in (value if isinstance(value, list) else [value])
    )
