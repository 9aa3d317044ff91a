"""Finds lines in the logs of one program: the last ones, those with a text, those of a time.

The work is bounded: a log is read piece by piece, newest first, never whole. `truncated` in an answer means that
more lines fit than it holds, or that it stopped looking after SCAN_BYTES.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from core.timeformat import in_utc

from .index import Notes
from .lines import Chunk, Line, Lines, backwards, clean, forwards, iso_millis, line_start, line_text
from .paths import LogFile
from .reader import Reader

DEFAULT_TAIL = 200
MAX_TAIL = 5000
SCAN_BYTES = 256 * 1024 * 1024


def read(
    log: LogFile,
    *,
    tail: int | None = None,
    q: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    around: datetime | None = None,
) -> Lines:
    """The newest `tail` lines (200 unless told, at most 5,000) that fit, oldest first.

    `q` is literal text in any case; `since` and `until` bound the lines' times; with `around`, up to `tail` lines
    before that moment and as many from it on. Times without a zone are UTC.
    """
    return _answer([log], _query(tail, q, since, until, around))


def read_program(
    directory: Path,
    indexes: Iterable[int],
    *,
    tail: int | None = None,
    q: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    around: datetime | None = None,
) -> Lines:
    """As `read`, for several instances of one program merged by time; each line then says its `instance`."""
    return _answer([LogFile(directory, index) for index in indexes], _query(tail, q, since, until, around))


def last_lines(log: LogFile, count: int, max_bytes: int, *, end: int | None = None) -> list[Line]:
    """The last `count` lines, the newest of them, as many as fit into `max_bytes` of UTF-8 text.

    With `end`, a logical offset, those the program had written when the log had grown to it.
    """
    with Reader(log, budget=SCAN_BYTES) as reader:
        reader.end = reader.end if end is None else min(end, reader.end)
        hits = _Search(reader, _query(count, None, None, None, None)).found().before
    kept: list[Line] = []
    for hit in reversed(hits):
        max_bytes -= len(hit.text.encode()) + 1
        if max_bytes < 0:
            break
        kept.append(_line(hit, numbered=False))
    return kept[::-1]


class Hit(NamedTuple):
    time: float | None
    text: str
    instance: int


@dataclass(frozen=True)
class Query:
    tail: int
    needle: str
    since: float | None
    until: float | None
    around: float | None

    def fits(self, text: str) -> bool:
        return self.needle in text.casefold()

    def candidates(self, chunk: Chunk) -> list[tuple[int, bytes]]:
        """The lines that may fit, found in the whole chunk at once: ten times as fast as line by line."""
        if not self.needle:
            return chunk.lines()
        text = clean(chunk.data).casefold()
        if self.needle not in text:
            return []
        pairs = zip(chunk.lines(), text.split("\n"), strict=False)
        return [line for line, folded in pairs if self.needle in folded]


def _query(
    tail: int | None, q: str | None, since: datetime | None, until: datetime | None, around: datetime | None
) -> Query:
    count = DEFAULT_TAIL if tail is None else min(max(tail, 0), MAX_TAIL)
    return Query(count, (q or "").casefold(), _seconds(since), _seconds(until), _seconds(around))


def _seconds(moment: datetime | None) -> float | None:
    return None if moment is None else in_utc(moment).timestamp()


class Found(NamedTuple):
    """Hits of one log, oldest first, before and from the asked moment on."""

    before: list[Hit]
    after: list[Hit]
    truncated: bool


class _Search:
    """One query in one log."""

    def __init__(self, reader: Reader, query: Query) -> None:
        self.reader = reader
        self.query = query
        self.notes = Notes.up_to(reader)
        self.low = 0 if query.since is None else self.notes.offset_before(query.since)
        self.high = reader.end if query.until is None else self.notes.offset_until(query.until)

    def found(self) -> Found:
        around = self.query.around
        middle = self.high if around is None else self.notes.offset_before(around)
        if middle < self.reader.end:
            middle = line_start(self.reader, middle)
        before, more_before = self.pick(self.newest(middle))
        after, more_after = ([], False) if around is None else self.pick(self.oldest(middle))
        return Found(before[::-1], after, more_before or more_after or self.reader.exhausted)

    def newest(self, position: int) -> Iterator[tuple[int, bytes]]:
        for chunk in backwards(self.reader, position):
            yield from reversed(self.in_bounds(chunk))
            if chunk.start <= self.low:
                return

    def oldest(self, position: int) -> Iterator[tuple[int, bytes]]:
        for chunk in forwards(self.reader, position):
            yield from self.in_bounds(chunk)
            if chunk.end >= self.high:
                return

    def in_bounds(self, chunk: Chunk) -> list[tuple[int, bytes]]:
        return [line for line in self.query.candidates(chunk) if self.low < line[0] <= self.high]

    def pick(self, lines: Iterator[tuple[int, bytes]]) -> tuple[list[Hit], bool]:
        """The first `tail` lines that fit, and whether there is one more."""
        hits: list[Hit] = []
        for end, raw in lines:
            text = line_text(raw)
            if not self.query.fits(text):
                continue
            if len(hits) >= self.query.tail:
                return hits, True
            hits.append(Hit(self.notes.time_at(end), text, self.reader.log.index))
        return hits, False


def _find(log: LogFile, query: Query) -> Found:
    with Reader(log, budget=SCAN_BYTES) as reader:
        return _Search(reader, query).found()


def _answer(logs: Sequence[LogFile], query: Query) -> Lines:
    finds = [_find(log, query) for log in logs]
    before = _merged([found.before for found in finds])
    after = _merged([found.after for found in finds])
    kept = before[max(len(before) - query.tail, 0) :] + after[: query.tail]
    truncated = any(found.truncated for found in finds) or len(kept) < len(before) + len(after)
    return {"lines": [_line(hit, numbered=len(logs) > 1) for hit in kept], "truncated": truncated}


def _merged(hits: list[list[Hit]]) -> list[Hit]:
    return list(heapq.merge(*hits, key=lambda hit: math.inf if hit.time is None else hit.time))


def _line(hit: Hit, *, numbered: bool) -> Line:
    line: Line = {"time": iso_millis(hit.time), "text": hit.text}
    if numbered:
        line["instance"] = hit.instance
    return line
