"""Reads a log by logical offset, across archives and the live file, also during a rotation."""

from __future__ import annotations

import errno
import logging
import math
import os
from collections.abc import Callable, Iterator
from io import FileIO
from types import TracebackType
from typing import NamedTuple

from .archives import PIECE_BYTES, UnreadableArchiveError, read_piece
from .layout import read_layout
from .paths import Archive, Kind, LogFile, open_existing

logger = logging.getLogger(__name__)

RETRIES = 1000


class Piece(NamedTuple):
    start: int
    data: bytes


class Segment(NamedTuple):
    """Bytes `start` to `end` of the log. They are in the live file if `archive` is None."""

    start: int
    end: int
    archive: Archive | None


class Reader:
    """A snapshot of one log from `start` to `end`; it does not see bytes appended later.

    After `budget` bytes it returns no more data and `exhausted` is true.
    """

    def __init__(self, log: LogFile, budget: float = math.inf) -> None:
        self.log = log
        self.budget = budget
        try:
            self._live: FileIO | None = open_existing(log.live)
        except FileNotFoundError:
            self._live = None
        self._layout = read_layout(log, self._live)
        self.start = self._layout.start
        self.end = self._layout.end
        self.live_start = self._layout.archived
        self.modified = os.fstat(self._live.fileno()).st_mtime if self._live else None

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        if self._live:
            self._live.close()

    def before(self, position: int) -> Piece:
        """Up to PIECE_BYTES that end at `position`, or earlier if bytes are missing. Empty at the start."""
        return self._read_consistent(lambda: self._before(position), Piece(position, b""))

    def after(self, position: int) -> Piece:
        """Up to PIECE_BYTES that start at `position`, or later if bytes are missing. Empty at the end."""
        return self._read_consistent(lambda: self._after(position), Piece(position, b""))

    @property
    def exhausted(self) -> bool:
        return self.budget <= 0

    def _read_consistent(self, read: Callable[[], Iterator[Piece]], nothing: Piece) -> Piece:
        """Reads the first piece with content; repeats if a rotation moved bytes in the meantime."""
        if self.exhausted:
            return nothing
        # Rotation does not lock: after each read, check that the layout it relied on is still the same.
        for _ in range(RETRIES):
            layout = self._layout
            try:
                piece = next((piece for piece in read() if piece.data), nothing)
            except FileNotFoundError:
                self._layout = read_layout(self.log, self._live)
                continue
            if piece.start >= layout.archived:
                self._layout = read_layout(self.log, self._live)
            if (self._layout.base, self._layout.archived) == (layout.base, layout.archived):
                self.budget -= len(piece.data)
                return piece
        raise OSError(errno.EBUSY, "the log rotates faster than it can be read", str(self.log.live))

    def _before(self, position: int) -> Iterator[Piece]:
        for segment in reversed(self._segments()):
            if segment.start < position:
                high = min(position, segment.end)
                # Read along the borders of gzip members, so that each is decompressed once.
                low = high - 1 - (high - 1 - segment.start) % PIECE_BYTES
                yield self._read(segment, low, high)

    def _after(self, position: int) -> Iterator[Piece]:
        for segment in self._segments():
            if segment.end > position:
                low = max(position, segment.start)
                high = min(low + PIECE_BYTES - (low - segment.start) % PIECE_BYTES, segment.end)
                yield self._read(segment, low, high)

    def _segments(self) -> list[Segment]:
        layout = self._layout
        segments = [Segment(a.start, a.end, a) for a in layout.archives]
        segments.append(Segment(layout.archived, min(layout.end, self.end), None))
        return [segment for segment in segments if segment.start < segment.end]

    def _read(self, segment: Segment, low: int, high: int) -> Piece:
        try:
            if segment.archive:
                return Piece(low, _read_archive(segment.archive, low - segment.start, high - segment.start))
        except UnreadableArchiveError as error:
            logger.warning("skipping an unreadable part of a log: %s", error)
            return Piece(low, b"")
        return Piece(low, _read_at(self._live, low - self._layout.base, high - low) if self._live else b"")


def _read_archive(archive: Archive, low: int, high: int) -> bytes:
    if archive.kind is Kind.COMPRESSED:
        number, offset = divmod(low, PIECE_BYTES)
        return read_piece(archive.path, number)[offset : offset + high - low]
    with open_existing(archive.path) as file:
        return _read_at(file, low, high - low)


def _read_at(file: FileIO, offset: int, size: int) -> bytes:
    file.seek(offset)
    return file.read(size)
