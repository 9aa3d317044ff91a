"""Masks secrets that are known by value, also in text that arrives in pieces.

Lines of a secret are masked one by one, because programs print a key of several lines in several lines.
docs/adr/0025-masking-of-program-output.md.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from urllib.parse import quote, quote_plus, unquote

from .masking import MASK

# Masking the brackets and short words of a JSON secret would make every other text unreadable.
MIN_LINE_LENGTH = 4  # of a secret that has several lines; a secret of one line is masked however short it is
MIN_PART_OF_LINE = 16  # of the parts of a line that a program may print alone
# At a cut, one or two equal characters are chance.
MIN_PART_LENGTH = 3
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")  # removed from program output before it is masked

Span = tuple[int, int]


class SecretMask:
    """Replaces each occurrence of the `values`, of their lines, and of their JSON and URL forms."""

    def __init__(self, values: Iterable[str] = ()) -> None:
        found = {form for value in values for piece in _pieces(value) for form in _forms(piece)}
        self._forms = sorted(found, key=len, reverse=True)

    def apply(self, text: str, *, starts_cut: bool = False, ends_cut: bool = False) -> str:
        """Keeps the number of lines. `starts_cut`, `ends_cut`: a secret may have been cut in two there."""
        spans = [span for form in self._forms for span in _occurrences(text, form)]
        for form in self._forms:
            if starts_cut and (length := _end_of(form, text)):
                spans.append((0, length))
            if ends_cut and (length := _start_of(form, text, MIN_PART_LENGTH)):
                spans.append((len(text) - length, len(text)))
            if starts_cut and ends_cut and len(text) >= MIN_PART_LENGTH and text in form:
                spans.append((0, len(text)))
        return _replace(text, spans) if spans else text

    def unfinished(self, text: str) -> int:
        """How many characters at the end of `text` may be the beginning of a secret."""
        return max((_start_of(form, text, 1) for form in self._forms), default=0)


class HideAll(SecretMask):
    """Replaces every line: the secrets cannot be decrypted, so any text may contain one."""

    def __init__(self, explanation: str) -> None:
        super().__init__()
        self._explanation = explanation

    def apply(self, text: str, *, starts_cut: bool = False, ends_cut: bool = False) -> str:
        return "\n".join(self._explanation if line else "" for line in text.split("\n"))


NO_SECRETS = SecretMask()


def _pieces(value: str) -> Iterator[str]:
    lines = [line for raw in re.split(r"[\r\n]+", value) if (line := raw.strip())]
    yield from lines if len(lines) < 2 else [line for line in lines if len(line) >= MIN_LINE_LENGTH]
    for line in lines:
        # A key in one line with "\\n" in it, also inside JSON: the program that reads it prints real lines.
        yield from (part for part in re.split(r"\\+[rn]|\"", line) if MIN_PART_OF_LINE <= len(part) < len(line))
    # In clear and as it is written: drivers print the password of a URL without the rest.
    for password in re.findall(r"://[^\s:/@]*:([^\s/]+)@", value):
        yield from (piece for piece in (password, unquote(password)) if len(piece) >= MIN_LINE_LENGTH)


def _forms(piece: str) -> Iterator[str]:
    """The piece as programs write it: plain, in JSON or source code, and in a URL."""
    printed = CONTROL.sub("", piece)
    yield from filter(None, (piece, printed))
    if len(piece) >= MIN_LINE_LENGTH:
        yield from (json.dumps(piece)[1:-1], json.dumps(piece, ensure_ascii=False)[1:-1], repr(piece)[1:-1])
        for encode in (quote, quote_plus):
            yield from (encode(piece, errors="replace"), encode(piece, safe="", errors="replace"))


def _occurrences(text: str, form: str) -> Iterator[Span]:
    at = text.find(form)
    while at >= 0:
        end = at + len(form)
        yield at, end
        # Occurrences can overlap. Only the last one that does counts: with the first it covers those in between.
        overlapping = text.rfind(form, at + 1, end + len(form) - 1)
        at = overlapping if overlapping >= 0 else text.find(form, end)


def _end_of(form: str, text: str) -> int:
    """Length of the longest end of `form`, not all of it, with which `text` begins."""
    at = form.find(text[:MIN_PART_LENGTH], 1) if len(text) >= MIN_PART_LENGTH else -1
    while at >= 0:
        if text.startswith(form[at:]):
            return len(form) - at
        at = form.find(text[:MIN_PART_LENGTH], at + 1)
    return 0


def _start_of(form: str, text: str, shortest: int) -> int:
    """Length of the longest start of `form`, not all of it, with which `text` ends."""
    end = text[len(text) - shortest :] if len(text) >= shortest else ""
    length = len(form) - 1
    while end and (at := form.rfind(end, 0, length)) >= 0:
        if text.endswith(form[: at + shortest]):
            return at + shortest
        length = at + shortest - 1
    return 0


def _replace(text: str, spans: list[Span]) -> str:
    parts, done = [], 0
    for start, end in _merged(spans):
        parts += [text[done:start], MASK]
        done = end
    return "".join([*parts, text[done:]])


def _merged(spans: list[Span]) -> Iterator[Span]:
    spans.sort()
    start, end = spans[0]
    for following in spans[1:]:
        if following[0] >= end:
            yield start, end
            start, end = following
        end = max(end, following[1])
    yield start, end
