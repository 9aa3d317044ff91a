"""Bytes of a log into lines a person can be shown."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import accumulate
from typing import NamedTuple, NotRequired, TypedDict

from core.timeformat import iso

from .reader import Piece, Reader

# A longer line is cut there, and the rest of it never held in memory.
MAX_LINE_BYTES = 64 * 1024
CUT = "…"


class Line(TypedDict):
    time: str | None
    text: str
    instance: NotRequired[int]  # where lines of several instances are merged


class Lines(TypedDict):
    lines: list[Line]
    truncated: bool


CONTROL = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]?"  # CSI: colours, cursor
    r"|\x1b[\]PX^_][^\x07\x1b\n]*(?:\x07|\x1b\\)?"  # OSC and the other strings: titles, links
    r"|\x1b[ -/]*[0-~]"
    r"|[\x00-\x08\x0b-\x1f\x7f-\x9f]"
)
# Bytes without which no text above can be there (0xC2 begins the UTF-8 form of 0x80 to 0x9F).
SUSPECTS = bytes(set(range(0x20)) - set(b"\t\n")) + b"\x7f\xc2"


def clean(data: bytes) -> str:
    """Text without terminal sequences and control characters except tab and newline; bad UTF-8 is replaced."""
    text = data.decode("utf-8", "replace")
    suspicious = len(data.translate(None, SUSPECTS)) < len(data)
    return CONTROL.sub("", text) if suspicious else text


def line_text(raw: bytes) -> str:
    """What is shown of one line."""
    text = clean(raw[:MAX_LINE_BYTES])
    return text + CUT if len(raw) > MAX_LINE_BYTES else text


def iso_millis(seconds: float | None) -> str | None:
    """Unix seconds as ISO 8601 UTC with milliseconds."""
    return None if seconds is None else iso(datetime.fromtimestamp(seconds, UTC), "milliseconds")


class Chunk(NamedTuple):
    """Whole lines. `end` is exact; `data` may lack what was cut from an overlong first or last line."""

    start: int
    data: bytes
    end: int

    def lines(self) -> list[tuple[int, bytes]]:
        """(logical offset after the line, its bytes without the newline), oldest first."""
        raws = self.data.removesuffix(b"\n").split(b"\n")
        ends = list(accumulate((len(raw) + 1 for raw in raws), initial=self.start))[1:]
        return [*zip(ends[:-1], raws[:-1], strict=True), (self.end, raws[-1])]


class Feed:
    """Turns bytes that come in order into chunks of whole lines, holding an unfinished line back."""

    def __init__(self, position: int) -> None:
        self.position = position
        self.held = b""

    def push(self, piece: Piece) -> Chunk | None:
        """Bytes are missing before `piece` when it starts above `position`; then the held line is dropped."""
        if piece.start > self.position:
            self.held = b""
        self.position = piece.start + len(piece.data)
        whole, newline, rest = piece.data.rpartition(b"\n")
        if not newline:
            self.held = _bounded(self.held + rest)
            return None
        whole, self.held = self.held + whole + newline, _bounded(rest)
        end = self.position - len(rest)
        return Chunk(end - len(whole), whole, end)

    def flush(self) -> Chunk | None:
        """The unfinished line as it is."""
        data, self.held = self.held, b""
        return Chunk(self.position - len(data), data, self.position) if data else None


def _bounded(line: bytes) -> bytes:
    return line[: MAX_LINE_BYTES + 1]


def forwards(reader: Reader, start: int) -> Iterator[Chunk]:
    """Whole lines from `start` on, oldest first; at last what the program has not finished yet."""
    feed = Feed(start)
    while (piece := reader.after(feed.position)).data:
        if chunk := feed.push(piece):
            yield chunk
    if chunk := feed.flush():
        yield chunk


def backwards(reader: Reader, end: int) -> Iterator[Chunk]:
    """Whole lines before `end`, newest first, read piece by piece."""
    tail, tail_end = b"", end
    at = end
    while (piece := reader.before(at)).data:
        at = piece.start
        head, newline, lines = piece.data.partition(b"\n")
        if not newline:
            tail = _bounded(head + tail)
            continue
        start = at + len(head) + 1
        if lines or tail:
            yield Chunk(start, lines + tail, tail_end)
        tail, tail_end = _bounded(head + newline), start
    if tail:
        yield Chunk(at, tail, tail_end)


def line_start(reader: Reader, position: int) -> int:
    """Where the line begins that goes on at `position`, looked for as far back as a line may be long."""
    at = position
    while at > position - MAX_LINE_BYTES and (piece := reader.before(at)).data:
        at = piece.start + piece.data.rfind(b"\n") + 1
        if at > piece.start:
            break
    return at
