"""Suggestions for mistyped names."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

# difflib's default of 0.6 suggests `ignore` for `nope`; 0.7 still allows one wrong letter in four.
MIN_SIMILARITY = 0.7


def did_you_mean(typed: str, known: Iterable[str]) -> str:
    """` Did you mean web?`, to append to a sentence; empty without a similar name."""
    similar = difflib.get_close_matches(typed, list(known), n=1, cutoff=MIN_SIMILARITY)
    return f" Did you mean {similar[0]}?" if similar else ""
