"""Blanks secrets in what leaves the monitor's hands: log lines, audit rows, errors shown to people.

Two nets: values under a telling name (`password`, `token`, …) and strings that look like a secret wherever
they stand. Secrets known by value are blanked with `core.secrets.mask`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

MASK = "••••••"
SECRET_NAMES = re.compile(
    r"(password|passwd|passphrase|\bpass|secrets?|tokens?|authorization|cookies?|credentials?|"
    r"(private|secret|api|session)[_-]?keys?|sessionid)$",
    re.IGNORECASE,
)
# Each with what its text must hold, in lower case: looking for that costs a tenth, and nearly no text has it.
SECRET_SHAPES: tuple[tuple[tuple[str, ...], re.Pattern[str], str], ...] = (
    (("pm_",), re.compile(r"\b(pm_[0-9a-z]{8})_[A-Za-z0-9_-]{43}"), rf"\1_{MASK}"),
    (("whsec_",), re.compile(r"\bwhsec_[A-Za-z0-9+/=_-]{16,}"), f"whsec_{MASK}"),
    (
        ("bearer", "basic"),
        re.compile(r"\b(Bearer|Basic)\s+[A-Za-z0-9+/=._~-]{8,}", re.IGNORECASE),
        rf"\1 {MASK}",
    ),
    (("://",), re.compile(r"(?<=://)([^\s:/@]*):[^\s@/]+@"), rf"\1:{MASK}@"),
)
# Line feed and tab stay; the rest of the control characters can rewrite a terminal or forge a second line.
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def mask_text(text: str) -> str:
    """`text` with everything that looks like a token, a signing secret or a password in a URL blanked."""
    lowered = text.lower()
    for needed, pattern, replacement in SECRET_SHAPES:
        if any(part in lowered for part in needed):
            text = pattern.sub(replacement, text)
    return text


def printable(text: str) -> str:
    """`text` on one line, with every control character replaced by U+FFFD."""
    return CONTROL.sub("\N{REPLACEMENT CHARACTER}", text).replace("\n", " ")


@lru_cache(maxsize=1024)
def is_telling(name: str) -> bool:
    """Whether what bears this name is a secret."""
    return SECRET_NAMES.search(name) is not None


def masked(value: Any, name: str = "") -> Any:
    """`value` as plain JSON data without secrets; what JSON does not know becomes its text."""
    if is_telling(name) and not isinstance(value, bool) and value not in (None, "", {"set": True}):
        return MASK
    if isinstance(value, Mapping):
        if (
            value.get("secret") is True and "value" in value
        ):  # an entry of an environment: {"name", "value", "secret"}
            value = {**value, "value": MASK}
        return {str(key): masked(inner, str(key)) for key, inner in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [masked(inner) for inner in value]
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    return CONTROL.sub("\N{REPLACEMENT CHARACTER}", mask_text(str(value)))
