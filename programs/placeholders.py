"""Fills in `{instance}` and `{instance+N}` in commands, plain variables and probe targets; keeps other braces."""

from __future__ import annotations

import re

PLACEHOLDER = re.compile(r"\{instance(?:([+-])(\d{1,9}))?\}")
MISSPELT = re.compile(r"\{instance[^}]*\}?")


class PlaceholderError(ValueError):
    """A misspelt placeholder."""


def fill(text: str, index: int) -> str:
    """`text` for one instance: `{instance+8100}` is 8102 for index 2. Raises PlaceholderError."""
    filled = PLACEHOLDER.sub(lambda found: str(index + int((found[1] or "+") + (found[2] or "0"))), text)
    if misspelt := MISSPELT.search(filled):
        raise PlaceholderError(f"{misspelt[0]!r} isn't a placeholder. Use {{instance}} or {{instance+8100}}.")
    return filled
