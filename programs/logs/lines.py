"""Splits the bytes of a log into lines and strips terminal control sequences."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import accumulate
from typing import NamedTuple, NotRequired, TypedDict

from core.secret_mask import SecretMask
from core.timeformat import iso

from .reader import Piece, Reader

# Longer lines are cut, so that a log without newlines cannot fill the memory.
MAX_LINE_BYTES = 64 * 1024
ELLIPSIS = "…"


class Line(TypedDict):
    time: str | None
    text: str
    instance: NotRequired[int]  # only when lines of several instances are merged


class Lines(TypedDict):
    lines: list[Line]
    truncated: bool


CONTROL = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]?"  # CSI: colours, cursor
    r"|\x1b[\]PX^_][^\x07\x1b\n]*(?:\x07|\x1b\\)?"  # OSC and the other strings: titles, links
    r"|\x1b[ -/]*[0-~]"
    r"|[\x00-\x08\x0b-\x1f\x7f-\x9f]"
)
# A cheap pre-check: without one of these bytes CONTROL cannot match (0xC2 starts the UTF-8 form of 0x80 to 0x9F).
CONTROL_BYTES = bytes(set(range(0x20)) - set(b"\t\n")) + b"\x7f\xc2"


def clean(data: bytes) -> str:
    """Removes terminal sequences and control characters except tab and newline; replaces invalid UTF-8."""
    text = data.decode("utf-8", "replace")
    suspicious = len(data.translate(None, CONTROL_BYTES)) < len(data)
    return CONTROL.sub("", text) if suspicious else text


def line_text(raw: bytes) -> str:
    text = clean(raw[:MAX_LINE_BYTES])
    return text + ELLIPSIS if len(raw) > MAX_LINE_BYTES else text


def masked_lines(chunk: Chunk, mask: SecretMask, needle: str = "") -> list[tuple[int, str]]:
    """(logical offset after the line, its text) of the lines that contain `needle` (casefolded) once masked.

    Masks and searches the whole chunk at once, ten times as fast as line by line. As the chunk is masked first,
    neither the result nor the time it takes depends on what the secrets contain.
    """
    # A chunk can begin in the middle of a line: where older bytes were deleted, or after very long lines.
    text = mask.apply(clean(chunk.data), starts_cut=True, ends_cut=not chunk.data.endswith(b"\n"))
    folded = text.casefold() if needle else text
    if needle not in folded:
        return []
    rows = zip(chunk.lines(), text.removesuffix("\n").split("\n"), folded.split("\n"), strict=False)
    shown = [(end, _shown(raw, line, mask)) for (end, raw), line, key in rows if needle in key]
    return [line for line in shown if len(line[1]) < MAX_LINE_BYTES or needle in line[1].casefold()]


def _shown(raw: bytes, masked: str, mask: SecretMask) -> str:
    if len(raw) <= MAX_LINE_BYTES and len(masked) <= MAX_LINE_BYTES:
        return masked
    text = masked.encode("utf-8", "replace")[:MAX_LINE_BYTES].decode("utf-8", "ignore")
    # Reading cuts very long lines too, just behind MAX_LINE_BYTES, so a secret can be cut in two here.
    return mask.apply(text, ends_cut=True) + ELLIPSIS


def iso_millis(seconds: float | None) -> str | None:
    return None if seconds is None else iso(datetime.fromtimestamp(seconds, UTC), "milliseconds")


class Chunk(NamedTuple):
    """Complete lines. `data` can be shorter than `end - start` when the first or last line was cut."""

    start: int
    data: bytes
    end: int

    def lines(self) -> list[tuple[int, bytes]]:
        """(logical offset after the line, bytes without the newline), oldest first."""
        raws = self.data.removesuffix(b"\n").split(b"\n")
        ends = list(accumulate((len(raw) + 1 for raw in raws), initial=self.start))[1:]
        return [*zip(ends[:-1], raws[:-1], strict=True), (self.end, raws[-1])]


class LineSplitter:
    """Splits consecutive pieces into chunks of complete lines; keeps an unfinished line for later."""

    def __init__(self, position: int) -> None:
        self.position = position
        self.partial = b""

    def push(self, piece: Piece) -> Chunk | None:
        if piece.start > self.position:  # bytes in between were deleted, so the two halves are not one line
            self.partial = b""
        self.position = piece.start + len(piece.data)
        whole, newline, rest = piece.data.rpartition(b"\n")
        if not newline:
            self.partial = _shorten(self.partial + rest)
            return None
        whole, self.partial = self.partial + whole + newline, _shorten(rest)
        end = self.position - len(rest)
        return Chunk(end - len(whole), whole, end)

    def flush(self, keep: int = 0) -> Chunk | None:
        """The unfinished line without its last `keep` bytes, which stay."""
        size = len(self.partial) - keep
        data, self.partial = self.partial[:size], self.partial[size:]
        end = self.position - keep
        return Chunk(end - len(data), data, end) if data else None


def _shorten(line: bytes) -> bytes:
    return line[: MAX_LINE_BYTES + 1]


def chunks_from(reader: Reader, start: int) -> Iterator[Chunk]:
    """Chunks from `start`, oldest first; the last one can be an unfinished line."""
    splitter = LineSplitter(start)
    while (piece := reader.after(splitter.position)).data:
        if chunk := splitter.push(piece):
            yield chunk
    if chunk := splitter.flush():
        yield chunk


def chunks_before(reader: Reader, end: int) -> Iterator[Chunk]:
    """Chunks before `end`, newest first, reading one piece at a time."""
    tail, tail_end = b"", end
    at = end
    while (piece := reader.before(at)).data:
        at = piece.start
        head, newline, lines = piece.data.partition(b"\n")
        if not newline:
            tail = _shorten(head + tail)
            continue
        start = at + len(head) + 1
        if lines or tail:
            yield Chunk(start, lines + tail, tail_end)
        tail, tail_end = _shorten(head + newline), start
    if tail:
        yield Chunk(at, tail, tail_end)


def line_start(reader: Reader, position: int) -> int:
    """The start of the line that contains `position`, at most MAX_LINE_BYTES before it."""
    at = position
    while at > position - MAX_LINE_BYTES and (piece := reader.before(at)).data:
        at = piece.start + piece.data.rfind(b"\n") + 1
        if at > piece.start:
            break
    return at
