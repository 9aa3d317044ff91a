"""Follows logs like `tail -F`, across rotations, by polling their size."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence

from core.secret_mask import NO_SECRETS, SecretMask

from .archives import PIECE_BYTES
from .index import TimeIndex
from .lines import Chunk, Line, LineSplitter, chunks_before, clean, iso_millis, line_start, masked_lines
from .paths import LogFile
from .reader import Piece, Reader

POLL_SECONDS = 0.15
# An unfinished line (a prompt, a progress bar) is shown after this time.
PARTIAL_LINE_SECONDS = 1.0
# A follower that falls further behind skips ahead and reports how many bytes it skipped.
MAX_LAG_BYTES = 4 * 1024 * 1024


CurrentMask = Callable[[], Awaitable[SecretMask]]


class Follower:
    """Yields new lines of one log, starting with the last `tail` existing ones.

    `fetch` reads at most PIECE_BYTES, `take` returns the lines of what was read. Get the mask between the two: the
    definition is saved before a process prints a new secret. An unfinished line is returned after
    PARTIAL_LINE_SECONDS, except for an end that may be the beginning of a secret.
    """

    def __init__(self, log: LogFile, *, tail: int = 0, clock: Callable[[], float] = time.monotonic) -> None:
        self.log = log
        self._tail = tail
        self._clock = clock
        self._splitter: LineSplitter | None = None
        self._index = TimeIndex()
        self._last_state: tuple[int, int, int] | None = None
        self._partial_since: float | None = None
        self._fetched: list[Chunk | Line] = []

    def has_news(self) -> bool:
        """Whether there may be new lines. Costs one stat."""
        return self._is_overdue() or self._splitter is None or self._last_state != self._file_state()

    def read_new(self, mask: SecretMask = NO_SECRETS) -> list[Line]:
        """The lines since the last call, oldest first. Call it again immediately while `has_news`."""
        self.fetch()
        return self.take(mask)

    def fetch(self) -> None:
        state = self._file_state()
        if self._splitter is None or state != self._last_state:
            with Reader(self.log) as reader:
                self._advance(reader)
                self._last_state = state if self._splitter and self._splitter.position >= reader.end else None

    def take(self, mask: SecretMask) -> list[Line]:
        fetched, self._fetched = self._fetched, []
        if self._is_overdue() and self._splitter:
            self._partial_since = None
            fetched += _chunk(self._splitter.flush(_bytes_to_hold(self._splitter.partial, mask)))
        return [line for part in fetched for line in self._to_lines(part, mask)]

    async def lines(self) -> AsyncGenerator[list[Line], None]:
        """Never ends; close the iterator to stop."""
        async for batch in _poll([self], _no_secrets):
            yield batch

    def _file_state(self) -> tuple[int, int, int]:
        try:
            stat = self.log.live.stat()
        except FileNotFoundError:
            return 0, 0, 0
        return stat.st_ino, stat.st_size, stat.st_mtime_ns

    def _advance(self, reader: Reader) -> None:
        splitter = self._splitter or LineSplitter(_tail_start(reader, self._tail))
        if reader.end < splitter.position:  # the program or someone else truncated the file
            splitter = LineSplitter(reader.live_start)
        self._splitter = splitter
        self._index = TimeIndex.of_reader(reader)
        before = len(self._fetched)
        if reader.end - splitter.position > MAX_LAG_BYTES:
            self._skip(splitter, line_start(reader, reader.end - PIECE_BYTES))
        piece = reader.after(splitter.position)
        if not piece.data and splitter.position < reader.end:
            piece = Piece(reader.end, b"")  # the bytes in between were deleted
        if piece.start > splitter.position:
            self._skip(splitter, piece.start)
        self._fetched += _chunk(splitter.push(piece))
        if not splitter.partial:
            self._partial_since = None
        elif self._partial_since is None or len(self._fetched) > before:
            self._partial_since = self._clock()

    def _skip(self, splitter: LineSplitter, position: int) -> None:
        before = splitter.position
        self._fetched += _chunk(splitter.flush())
        splitter.position = position
        note = f"… {position - before:,} bytes skipped"
        self._fetched.append({"time": iso_millis(self._index.time_at(position)), "text": note})

    def _is_overdue(self) -> bool:
        return self._partial_since is not None and self._clock() - self._partial_since >= PARTIAL_LINE_SECONDS

    def _to_lines(self, part: Chunk | Line, mask: SecretMask) -> list[Line]:
        if not isinstance(part, Chunk):
            return [part]
        return [
            {"time": iso_millis(self._index.time_at(end)), "text": text} for end, text in masked_lines(part, mask)
        ]


def _chunk(chunk: Chunk | None) -> list[Chunk | Line]:
    return [chunk] if chunk else []


def _bytes_to_hold(partial: bytes, mask: SecretMask) -> int:
    """The end of an unfinished line that may be the beginning of a secret: the rest would come as another line."""
    text = clean(partial)
    held = text[len(text) - mask.unfinished(text) :].encode()
    return len(held) if partial.endswith(held) else len(partial)


def _tail_start(reader: Reader, count: int) -> int:
    start = line_start(reader, reader.end)
    for chunk in chunks_before(reader, start):
        if count <= 0 or reader.end - chunk.start > MAX_LAG_BYTES // 2:
            break
        starts = [chunk.start, *(end for end, _ in chunk.lines()[:-1])]
        start = starts[max(len(starts) - count, 0)]
        count -= len(starts)
    return start


async def _no_secrets() -> SecretMask:
    return NO_SECRETS


async def follow(
    logs: Sequence[LogFile], *, tail: int = 0, mask: CurrentMask = _no_secrets
) -> AsyncGenerator[list[Line], None]:
    """Follows several instances. Each batch is sorted by time, and each line has an `instance`."""
    async for batch in _poll([Follower(log, tail=tail) for log in logs], mask):
        yield batch


async def _poll(followers: Sequence[Follower], mask: CurrentMask) -> AsyncGenerator[list[Line], None]:
    while True:
        ready = [follower for follower in followers if follower.has_news()]
        batch = await _read(ready, mask, numbered=len(followers) > 1) if ready else []
        if batch:
            yield sorted(batch, key=lambda line: line["time"] or "")
        if not any(follower.has_news() for follower in ready):
            await asyncio.sleep(POLL_SECONDS)


async def _read(followers: Sequence[Follower], mask: CurrentMask, *, numbered: bool) -> list[Line]:
    for follower in followers:
        await asyncio.to_thread(follower.fetch)
    current = await mask()
    batch: list[Line] = []
    for follower in followers:
        lines = await asyncio.to_thread(follower.take, current)
        if numbered:
            for line in lines:
                line["instance"] = follower.log.index
        batch += lines
    return batch
