"""Searches the logs of one program by text and time, newest lines first.

Secrets are masked before anything is compared or counted: a match in a secret would reveal it.

Reads at most SCAN_BYTES per log, one piece at a time. `truncated` in a result means that more lines match, or that
the search stopped after SCAN_BYTES.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from core.secret_mask import NO_SECRETS, SecretMask
from core.timeformat import in_utc

from .index import TimeIndex
from .lines import Chunk, Line, Lines, chunks_before, chunks_from, iso_millis, line_start, masked_lines
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
    mask: SecretMask = NO_SECRETS,
) -> Lines:
    """Returns the newest `tail` matching lines (default 200, at most 5,000), oldest first.

    `q` is a literal, case-insensitive text. `since` and `until` limit the time of the lines. `around` returns up
    to `tail` lines before that time and up to `tail` from it on. Times without a zone are UTC.
    """
    return _search_logs([log], _query(tail, q, since, until, around), mask)


def read_program(
    directory: Path,
    indexes: Iterable[int],
    *,
    tail: int | None = None,
    q: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    around: datetime | None = None,
    mask: SecretMask = NO_SECRETS,
) -> Lines:
    """Like `read` for several instances, merged by time. With more than one, each line has an `instance`."""
    logs = [LogFile(directory, index) for index in indexes]
    return _search_logs(logs, _query(tail, q, since, until, around), mask)


def last_lines(
    log: LogFile, count: int, max_bytes: int, *, end: int | None = None, mask: SecretMask = NO_SECRETS
) -> list[Line]:
    """The last `count` lines before the logical offset `end` (default: the end of the log).

    Returns fewer, the newest, if they exceed `max_bytes` of UTF-8.
    """
    with Reader(log, budget=SCAN_BYTES) as reader:
        reader.end = reader.end if end is None else min(end, reader.end)
        matches = _Search(reader, _query(count, None, None, None, None), mask).run().before
    kept: list[Line] = []
    for match in reversed(matches):
        max_bytes -= len(match.text.encode()) + 1
        if max_bytes < 0:
            break
        kept.append(_line(match, numbered=False))
    return kept[::-1]


class Match(NamedTuple):
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


def _query(
    tail: int | None, q: str | None, since: datetime | None, until: datetime | None, around: datetime | None
) -> Query:
    count = DEFAULT_TAIL if tail is None else min(max(tail, 0), MAX_TAIL)
    return Query(count, (q or "").casefold(), _seconds(since), _seconds(until), _seconds(around))


def _seconds(time: datetime | None) -> float | None:
    return None if time is None else in_utc(time).timestamp()


class LogMatches(NamedTuple):
    """Matches in one log, oldest first, before and from the `around` time on."""

    before: list[Match]
    after: list[Match]
    truncated: bool


class _Search:
    def __init__(self, reader: Reader, query: Query, mask: SecretMask) -> None:
        self.reader = reader
        self.query = query
        self.mask = mask
        self.index = TimeIndex.of_reader(reader)
        self.low = 0 if query.since is None else self.index.offset_before(query.since)
        self.high = reader.end if query.until is None else self.index.offset_until(query.until)

    def run(self) -> LogMatches:
        around = self.query.around
        middle = self.high if around is None else self.index.offset_before(around)
        if middle < self.reader.end:  # a line that was half written at that time belongs to what follows
            middle = line_start(self.reader, middle)
        before, more_before = self.take(self.newest(middle))
        after, more_after = ([], False) if around is None else self.take(self.oldest(middle))
        return LogMatches(before[::-1], after, more_before or more_after or self.reader.exhausted)

    def newest(self, position: int) -> Iterator[tuple[int, str]]:
        for chunk in chunks_before(self.reader, position):
            yield from reversed(self.matching(chunk))
            if chunk.start <= self.low:
                return

    def oldest(self, position: int) -> Iterator[tuple[int, str]]:
        for chunk in chunks_from(self.reader, position):
            yield from self.matching(chunk)
            if chunk.end >= self.high:
                return

    def matching(self, chunk: Chunk) -> list[tuple[int, str]]:
        lines = masked_lines(chunk, self.mask, self.query.needle)
        return [line for line in lines if self.low < line[0] <= self.high]

    def take(self, lines: Iterator[tuple[int, str]]) -> tuple[list[Match], bool]:
        matches: list[Match] = []
        for end, text in lines:
            if len(matches) >= self.query.tail:
                return matches, True
            matches.append(Match(self.index.time_at(end), text, self.reader.log.index))
        return matches, False


def _search_log(log: LogFile, query: Query, mask: SecretMask) -> LogMatches:
    with Reader(log, budget=SCAN_BYTES) as reader:
        return _Search(reader, query, mask).run()


def _search_logs(logs: Sequence[LogFile], query: Query, mask: SecretMask) -> Lines:
    results = [_search_log(log, query, mask) for log in logs]
    before = _merge([result.before for result in results])
    after = _merge([result.after for result in results])
    kept = before[max(len(before) - query.tail, 0) :] + after[: query.tail]
    truncated = any(result.truncated for result in results) or len(kept) < len(before) + len(after)
    return {"lines": [_line(match, numbered=len(logs) > 1) for match in kept], "truncated": truncated}


def _merge(matches: list[list[Match]]) -> list[Match]:
    return list(heapq.merge(*matches, key=lambda match: math.inf if match.time is None else match.time))


def _line(match: Match, *, numbered: bool) -> Line:
    line: Line = {"time": iso_millis(match.time), "text": match.text}
    if numbered:
        line["instance"] = match.instance
    return line
