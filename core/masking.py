"""Masks secrets in log lines, audit rows and error messages.

Masks values by their name (`password`, `token`, …) and by their shape. Secrets known by value are masked with
`core.secrets.mask`.
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
# (lower-case substrings that must occur, pattern, replacement): the substring test costs a tenth of the pattern.
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
# All but line feed and tab: control characters can rewrite a terminal or forge a second line.
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def mask_text(text: str) -> str:
    """Masks API tokens, signing secrets, Authorization values and passwords in URLs."""
    lowered = text.lower()
    for needed, pattern, replacement in SECRET_SHAPES:
        if any(part in lowered for part in needed):
            text = pattern.sub(replacement, text)
    return text


def printable(text: str) -> str:
    """One line, with control characters replaced by U+FFFD."""
    return CONTROL.sub("\N{REPLACEMENT CHARACTER}", text).replace("\n", " ")


@lru_cache(maxsize=1024)
def is_secret_name(name: str) -> bool:
    return SECRET_NAMES.search(name) is not None


def masked(value: Any, name: str = "") -> Any:
    """`value` as JSON data with secrets masked; other types become text. `name` is the key that holds it."""
    if is_secret_name(name) and not isinstance(value, bool) and value not in (None, "", {"set": True}):
        return MASK
    if isinstance(value, Mapping):
        is_secret = value.get("secret") is True or is_secret_name(str(value.get("name", "")))
        if is_secret and "value" in value:  # an environment entry
            value = {**value, "value": MASK}
        return {str(key): masked(inner, str(key)) for key, inner in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [masked(inner) for inner in value]
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    return CONTROL.sub("\N{REPLACEMENT CHARACTER}", mask_text(str(value)))
