"""Conditions of an endpoint on an event, as JSON. Pure. No regular expressions: a bad one can hang the server.

{"attr": "data.exit_code", "op": "ne", "value": 0}         a comparison (`op` is optional: "eq")
{"and": [c, …]}  {"or": [c, …]}  {"not": c}                 combinations; {} is always true

`attr` is a dotted path into the event's JSON. Operators: eq ne gt gte lt lte in contains. A missing path is null:
it equals null and nothing else, and is neither above nor below anything.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from typing import Any

# Limits the time and the recursion of an evaluation.
MAX_DEPTH = 8
MAX_COMPARISONS = 100


class ConditionError(ValueError):
    pass


def _ordered(compare: Callable[[Any, Any], bool]) -> Callable[[Any, Any], bool]:
    # Other types never compare: an event with unexpected data must not raise an error.
    def compare_alike(found: Any, expected: Any) -> bool:
        are_numbers = _is_number(found) and _is_number(expected)
        are_texts = isinstance(found, str) and isinstance(expected, str)
        return (are_numbers or are_texts) and compare(found, expected)

    return compare_alike


def _is_number(value: Any) -> bool:
    # bool is a subclass of int.
    return isinstance(value, int | float) and not isinstance(value, bool)


def _contains(found: Any, expected: Any) -> bool:
    if isinstance(found, list):
        return expected in found
    return isinstance(found, str | dict) and isinstance(expected, str) and expected in found


OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "eq": operator.eq,
    "ne": operator.ne,
    "gt": _ordered(operator.gt),
    "gte": _ordered(operator.ge),
    "lt": _ordered(operator.lt),
    "lte": _ordered(operator.le),
    "in": lambda found, expected: found in expected,
    "contains": _contains,
}


def evaluate(condition: Mapping[str, Any], event: Mapping[str, Any]) -> bool:
    if not condition:
        return True
    if "attr" in condition:
        found = _look_up(event, condition["attr"])
        return bool(OPERATORS[condition.get("op", "eq")](found, condition["value"]))
    ((operator_name, inner),) = condition.items()
    if operator_name == "not":
        return not evaluate(inner, event)
    return (all if operator_name == "and" else any)(evaluate(each, event) for each in inner)


def _look_up(event: Mapping[str, Any], path: str) -> Any:
    found: Any = event
    for key in path.split("."):
        if not isinstance(found, Mapping) or key not in found:
            return None
        found = found[key]
    return found


def validate(condition: Any) -> None:
    """Raises ConditionError."""
    if condition != {}:
        left = _validate(condition, MAX_DEPTH, MAX_COMPARISONS)
        if left < 0:
            raise ConditionError(f"Use at most {MAX_COMPARISONS} comparisons.")


def _validate(condition: Any, depth: int, left: int) -> int:
    """Returns how many comparisons are left of the `left` allowed ones."""
    if depth == 0:
        raise ConditionError(f"Conditions may be nested at most {MAX_DEPTH} levels deep.")
    if not isinstance(condition, Mapping):
        raise ConditionError('A condition must be an object, for example {"attr": "data.exit_code", "value": 1}.')
    if "attr" in condition:
        _validate_comparison(condition)
        return left - 1
    if len(condition) != 1 or (operator_name := next(iter(condition))) not in ("and", "or", "not"):
        raise ConditionError('A condition needs "attr", or exactly one of "and", "or" and "not".')
    return _validate_inner(operator_name, condition[operator_name], depth - 1, left)


def _validate_inner(operator_name: str, inner: Any, depth: int, left: int) -> int:
    if operator_name == "not":
        return _validate(inner, depth, left)
    if not isinstance(inner, list) or not inner:
        raise ConditionError(f'"{operator_name}" needs a list of conditions.')
    for each in inner:
        left = _validate(each, depth, left)
    return left


def _validate_comparison(condition: Mapping[str, Any]) -> None:
    if unknown := condition.keys() - {"attr", "op", "value"}:
        raise ConditionError(f"A comparison takes attr, op and value, not {', '.join(sorted(unknown))}.")
    attr, op = condition["attr"], condition.get("op", "eq")
    # PostgreSQL cannot store NUL characters.
    if not isinstance(attr, str) or not attr or "\x00" in attr or "value" not in condition:
        raise ConditionError('"attr" must be a path such as data.exit_code, and there must be a "value".')
    if not isinstance(op, str) or op not in OPERATORS:
        raise ConditionError(f'"op" must be one of {", ".join(OPERATORS)}.')
    if not _is_plain(condition["value"]):
        raise ConditionError('"value" must be text, a number, true, false, null, or a list of these.')
    if op == "in" and not isinstance(condition["value"], list):
        raise ConditionError('"in" needs a list as its "value".')


def _is_plain(value: Any) -> bool:
    return all(
        each is None or (isinstance(each, str) and "\x00" not in each) or isinstance(each, bool | int | float)
        for each in (value if isinstance(value, list) else [value])
    )
