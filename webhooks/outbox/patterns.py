"""Event types with `*`: `program.crashed` is that one, `program.*` all of an area, `*` everything."""

from __future__ import annotations

import re

_PATTERN = re.compile(r"\*|[a-zA-Z0-9_]+(\.[a-zA-Z0-9_]+)*(\.\*)?")
LONGEST = 40


def is_pattern(value: object) -> bool:
    return isinstance(value, str) and len(value) <= LONGEST and _PATTERN.fullmatch(value) is not None


def matches(pattern: str, event_type: str) -> bool:
    if pattern.endswith("*"):
        return event_type.startswith(pattern[:-1])
    return event_type == pattern
