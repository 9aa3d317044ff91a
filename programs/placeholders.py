"""`{instance}` and `{instance+N}` in commands, plain variables and probe targets. Other braces stay unchanged."""

from __future__ import annotations

import re

PLACEHOLDER = re.compile(r"\{instance(?:([+-])(\d{1,9}))?\}")
MISSPELT = re.compile(r"\{instance[^}]*\}?")


class PlaceholderError(ValueError):
    """Something that looks like a placeholder and is none."""


def fill(text: str, index: int) -> str:
    """`text` for the instance `index`: `{instance+8100}` is 8102 for index 2. Raises PlaceholderError."""
    filled = PLACEHOLDER.sub(lambda found: str(index + int((found[1] or "+") + (found[2] or "0"))), text)
    if wrong := MISSPELT.search(filled):
        raise PlaceholderError(f"{wrong[0]!r} is no placeholder; write {{instance}} or {{instance+8100}}.")
    return filled
