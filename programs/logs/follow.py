"""Follows logs like `tail -F`, across rotations, by polling their size."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Sequence

from .archives import PIECE_BYTES
from .index import TimeIndex
from .lines import Chunk, Line, LineSplitter, chunks_before, iso_millis, line_start, line_text
from .paths import LogFile
from .reader import Piece, Reader

POLL_SECONDS = 0.15
# An unfinished line (a prompt, a progress bar) is shown after this time.
PARTIAL_LINE_SECONDS = 1.0
# A follower that falls further behind skips ahead and reports how many bytes it skipped.
MAX_LAG_BYTES = 4 * 1024 * 1024


class Follower:
    """Yields new lines of one log, starting with the last `tail` existing ones.

    `read_new` reads at most PIECE_BYTES. It returns an unfinished line after PARTIAL_LINE_SECONDS.
    """

    def __init__(self, log: LogFile, *, tail: int = 0, clock: Callable[[], float] = time.monotonic) -> None:
        self.log = log
        self._tail = tail
        self._clock = clock
        self._splitter: LineSplitter | None = None
        self._index = TimeIndex()
        self._last_state: tuple[int, int, int] | None = None
        self._partial_since: float | None = None

    def has_news(self) -> bool:
        """Whether `read_new` may return lines. Costs one stat."""
        return self._is_overdue() or self._splitter is None or self._last_state != self._file_state()

    def read_new(self) -> list[Line]:
        """The lines since the last call, oldest first. Call it again immediately while `has_news`."""
        state = self._file_state()
        lines: list[Line] = []
        if self._splitter is None or state != self._last_state:
            with Reader(self.log) as reader:
                lines = self._advance(reader)
                self._last_state = state if self._splitter and self._splitter.position >= reader.end else None
        if self._is_overdue():
            lines += self._flush()
        return lines

    async def lines(self) -> AsyncGenerator[list[Line], None]:
        """Never ends; close the iterator to stop."""
        async for batch in _poll([self]):
            yield batch

    def _file_state(self) -> tuple[int, int, int]:
        try:
            stat = self.log.live.stat()
        except FileNotFoundError:
            return 0, 0, 0
        return stat.st_ino, stat.st_size, stat.st_mtime_ns

    def _advance(self, reader: Reader) -> list[Line]:
        splitter = self._splitter or LineSplitter(_tail_start(reader, self._tail))
        if reader.end < splitter.position:  # the program or someone else truncated the file
            splitter = LineSplitter(reader.live_start)
        self._splitter = splitter
        self._index = TimeIndex.of_reader(reader)
        lines = self._skip(reader, splitter) if reader.end - splitter.position > MAX_LAG_BYTES else []
        piece = reader.after(splitter.position)
        if not piece.data and splitter.position < reader.end:
            piece = Piece(reader.end, b"")  # the bytes in between were deleted
        if piece.start > splitter.position:
            lines += [*self._flush(), self._skip_note(splitter.position, piece.start)]
        lines += self._to_lines(splitter.push(piece))
        if not splitter.partial:
            self._partial_since = None
        elif self._partial_since is None or len(lines):
            self._partial_since = self._clock()
        return lines

    def _skip(self, reader: Reader, splitter: LineSplitter) -> list[Line]:
        lines, before = self._flush(), splitter.position
        splitter.position = line_start(reader, reader.end - PIECE_BYTES)
        return [*lines, self._skip_note(before, splitter.position)]

    def _is_overdue(self) -> bool:
        return self._partial_since is not None and self._clock() - self._partial_since >= PARTIAL_LINE_SECONDS

    def _flush(self) -> list[Line]:
        self._partial_since = None
        return self._to_lines(self._splitter.flush() if self._splitter else None)

    def _to_lines(self, chunk: Chunk | None) -> list[Line]:
        if chunk is None:
            return []
        return [
            {"time": iso_millis(self._index.time_at(end)), "text": line_text(raw)} for end, raw in chunk.lines()
        ]

    def _skip_note(self, before: int, after: int) -> Line:
        return {"time": iso_millis(self._index.time_at(after)), "text": f"… {after - before:,} bytes skipped"}


def _tail_start(reader: Reader, count: int) -> int:
    start = line_start(reader, reader.end)
    for chunk in chunks_before(reader, start):
        if count <= 0 or reader.end - chunk.start > MAX_LAG_BYTES // 2:
            break
        starts = [chunk.start, *(end for end, _ in chunk.lines()[:-1])]
        start = starts[max(len(starts) - count, 0)]
        count -= len(starts)
    return start


async def follow(logs: Sequence[LogFile], *, tail: int = 0) -> AsyncGenerator[list[Line], None]:
    """Follows several instances. Each batch is sorted by time, and each line has an `instance`."""
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
