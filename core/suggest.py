"""The name somebody most likely meant."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

# difflib's own 0.6 takes `ignore` for `nope`; a letter too many, missing or wrong in four is still near.
LEAST_LIKENESS = 0.7


def did_you_mean(typed: str, known: Iterable[str]) -> str:
    """` Did you mean web?`, to be put after a sentence; empty when nothing known is near."""
    near = difflib.get_close_matches(typed, list(known), n=1, cutoff=LEAST_LIKENESS)
    return f" Did you mean {near[0]}?" if near else ""
