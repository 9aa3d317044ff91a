"""Text within the limits of chat services."""

from __future__ import annotations

from collections.abc import Callable, Sequence

CUT = "…"


def length(text: str) -> int:
    """In UTF-16 units, as the services count: an emoji takes two."""
    return len(text) + sum(character > "\uffff" for character in text)


def cut(text: str, limit: int) -> str:
    """`text`, or as much of it as fits with a `…` behind it."""
    if length(text) <= limit:
        return text
    kept = text[: max(limit - 1, 0)]
    while kept and length(kept) > limit - 1:
        kept = kept[:-1]
    return kept + CUT if limit > 0 else ""


def last_lines(lines: Sequence[str], limit: int, escape: Callable[[str], str] = str, longest: int = 300) -> str:
    """The last of `lines` that fit into `limit` once escaped; each is cut to `longest` before."""
    kept: list[str] = []
    for line in reversed(lines):
        escaped = escape(cut(line, longest))
        limit -= length(escaped) + 1
        if limit < -1:
            break
        kept.append(escaped)
    return "\n".join(reversed(kept))
