"""Follows logs as they grow, across rotations, by looking at their size: a program's writes ring no bell."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Sequence

from .archives import PIECE_BYTES
from .index import Notes
from .lines import Chunk, Feed, Line, backwards, iso_millis, line_start, line_text
from .paths import LogFile
from .reader import Piece, Reader

POLL_SECONDS = 0.15
# An unfinished line (a prompt, a progress bar) is shown after this long without more.
HOLD_SECONDS = 1.0
# Who falls further behind than this misses lines rather than time, and is told how many bytes.
BEHIND_BYTES = 4 * 1024 * 1024


class Follower:
    """The lines of one log as they come, beginning with the last `tail` that are there already.

    `read_new` reads at most PIECE_BYTES; an unfinished line is held back until its newline or HOLD_SECONDS.
    """

    def __init__(self, log: LogFile, *, tail: int = 0, clock: Callable[[], float] = time.monotonic) -> None:
        self.log = log
        self._tail = tail
        self._clock = clock
        self._feed: Feed | None = None
        self._notes = Notes()
        self._seen: tuple[int, int, int] | None = None
        self._held_at: float | None = None

    def has_news(self) -> bool:
        """Whether `read_new` may return something. Costs one stat."""
        return self._is_overdue() or self._feed is None or self._seen != self._mark()

    def read_new(self) -> list[Line]:
        """The lines since the last call, oldest first; call again at once while `has_news`."""
        mark = self._mark()
        lines: list[Line] = []
        if self._feed is None or mark != self._seen:
            with Reader(self.log) as reader:
                lines = self._advance(reader)
                self._seen = mark if self._feed and self._feed.position >= reader.end else None
        if self._is_overdue():
            lines += self._flushed()
        return lines

    async def lines(self) -> AsyncGenerator[list[Line], None]:
        """Batches for ever; close the iterator to stop."""
        async for batch in _poll([self]):
            yield batch

    def _mark(self) -> tuple[int, int, int]:
        try:
            stat = self.log.live.stat()
        except FileNotFoundError:
            return 0, 0, 0
        return stat.st_ino, stat.st_size, stat.st_mtime_ns

    def _advance(self, reader: Reader) -> list[Line]:
        feed = self._feed or Feed(_tail_start(reader, self._tail))
        if reader.end < feed.position:  # the program, or somebody, cut the file
            feed = Feed(reader.live_start)
        self._feed = feed
        self._notes = Notes.up_to(reader)
        lines = self._skip(reader, feed) if reader.end - feed.position > BEHIND_BYTES else []
        piece = reader.after(feed.position)
        if not piece.data and feed.position < reader.end:
            piece = Piece(reader.end, b"")  # nothing of it can be read any more
        if piece.start > feed.position:
            lines += [*self._flushed(), self._marker(feed.position, piece.start)]
        lines += self._shown(feed.push(piece))
        if not feed.held:
            self._held_at = None
        elif self._held_at is None or len(lines):
            self._held_at = self._clock()
        return lines

    def _skip(self, reader: Reader, feed: Feed) -> list[Line]:
        lines, before = self._flushed(), feed.position
        feed.position = line_start(reader, reader.end - PIECE_BYTES)
        return [*lines, self._marker(before, feed.position)]

    def _is_overdue(self) -> bool:
        return self._held_at is not None and self._clock() - self._held_at >= HOLD_SECONDS

    def _flushed(self) -> list[Line]:
        self._held_at = None
        return self._shown(self._feed.flush() if self._feed else None)

    def _shown(self, chunk: Chunk | None) -> list[Line]:
        if chunk is None:
            return []
        return [
            {"time": iso_millis(self._notes.time_at(end)), "text": line_text(raw)} for end, raw in chunk.lines()
        ]

    def _marker(self, before: int, after: int) -> Line:
        return {"time": iso_millis(self._notes.time_at(after)), "text": f"… {after - before:,} bytes skipped"}


def _tail_start(reader: Reader, count: int) -> int:
    """Where the last `count` finished lines begin, or fewer when they are long."""
    start = line_start(reader, reader.end)
    for chunk in backwards(reader, start):
        if count <= 0 or reader.end - chunk.start > BEHIND_BYTES // 2:
            break
        starts = [chunk.start, *(end for end, _ in chunk.lines()[:-1])]
        start = starts[max(len(starts) - count, 0)]
        count -= len(starts)
    return start


async def follow(logs: Sequence[LogFile], *, tail: int = 0) -> AsyncGenerator[list[Line], None]:
    """The lines of several instances as they come, each batch ordered by time and its lines numbered."""
    async for batch in _poll([Follower(log, tail=tail) for log in logs]):
        yield batch


async def _poll(followers: Sequence[Follower]) -> AsyncGenerator[list[Line], None]:
    while True:
        ready = [follower for follower in followers if follower.has_news()]
        batch = [line for follower in ready for line in await _read(follower, numbered=len(followers) > 1)]
        if batch:
            yield sorted(batch, key=lambda line: line["time"] or "")
        if not any(follower.has_news() for follower in ready):
            await asyncio.sleep(POLL_SECONDS)


async def _read(follower: Follower, *, numbered: bool) -> list[Line]:
    lines = await asyncio.to_thread(follower.read_new)
    if numbered:
        for line in lines:
            line["instance"] = follower.log.index
    return lines
