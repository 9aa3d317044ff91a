"""Texts within the limits of services: lengths, cutting, invisible characters, links."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

CUT = "…"


def length(text: str) -> int:
    """In UTF-16 units, as chat services count: an emoji takes two."""
    return len(text) + sum(character > "\uffff" for character in text)


def cut(text: str, limit: int) -> str:
    """Truncates `text` to `limit` including a final `…`."""
    if length(text) <= limit:
        return text
    head = text[: max(limit - 1, 0)]
    # Characters outside the BMP count twice.
    while head and length(head) > limit - 1:
        head = head[:-1]
    return head + CUT if limit > 0 else ""


def last_lines(lines: Sequence[str], limit: int, escape: Callable[[str], str] = str, longest: int = 300) -> str:
    """As many of the last lines as fit into `limit` after escaping; each is first cut to `longest`."""
    kept: list[str] = []
    for line in reversed(lines):
        escaped = escape(cut(line, longest))
        limit -= length(escaped) + 1
        if limit < -1:
            break
        kept.append(escaped)
    return "\n".join(reversed(kept))


# Bidi controls reorder what people read, and invisible ones hide text. Emoji and some scripts need the joiners.
INVISIBLE = re.compile(
    r"[\u00ad\u061c\u180e\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\U000e0000-\U000e007f]"
)
LINE_BREAKS = re.compile(r"[\n\x85\u2028\u2029]")
# Where services find mentions, hashtags, commands, phone numbers, URLs, host names, file names such as `x.py`, and
# IPv4 addresses.
LINKS = re.compile(
    r"(?<=@)(?=\w)|(?<=(?<!\w)[#/$+~])(?=\w)|(?<=:)(?=//)|(?<=\w)(?=\.[^\W\d])"
    r"|(?<=\d)(?=\.\d{1,3}\.\d{1,3}\.\d{1,3}(?!\w))"
)


def without_links(text: str) -> str:
    """Inserts zero-width spaces so that no service turns names and addresses into links or mentions."""
    return LINKS.sub("\u200b", text)


def visible(text: str) -> str:
    """Without bidi controls and invisible characters."""
    return INVISIBLE.sub("", text)
