"""Log rotation: moves the oldest part of a live log into archives while its program keeps appending.

Only one thread may rotate a log at a time (the agent's worker thread). Where the file system can remove the head
of a file (see `filesystem.remove_head`), an interrupted rotation neither loses nor duplicates a line.
"""

from __future__ import annotations

import asyncio
import errno
import os
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from io import FileIO
from typing import NamedTuple

import structlog
from django.conf import settings

from . import archives, filesystem
from .index import TimeIndexWriter
from .layout import Layout, Stamp, read_layout, read_stamp
from .paths import FINISHED, PENDING, Archive, Kind, LogFile, create_private, open_existing, readable

logger = structlog.get_logger(__name__)

DISK_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
# Bounds one call while a program floods its log; the next call continues.
MAX_STEPS = 8


class LogLimits(NamedTuple):
    file: LogFile
    max_bytes: int
    backups: int
    compress: bool


class LogRotator:
    """The agent's log service: updates time indexes and rotates large logs every SAMPLE_SECONDS."""

    def __init__(self, logs: Callable[[], Iterable[LogLimits]]) -> None:
        self._logs = logs
        self._index = TimeIndexWriter()

    async def run(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            await asyncio.to_thread(self.rotate_all, list(self._logs()), time.time())
            try:
                await asyncio.wait_for(stop.wait(), settings.SAMPLE_SECONDS)
            except TimeoutError:
                continue

    def rotate_all(self, logs: list[LogLimits], now: float) -> None:
        """Logs rotation errors and continues with the next log."""
        self._index.update((log.file for log in logs), now)
        for log in logs:
            size = self._index.size(log.file)  # from the stat just made: a second one per log and tick is too slow
            if size is not None and size <= log.max_bytes:
                continue
            try:
                rotate(log.file, max_bytes=log.max_bytes, backups=log.backups, compress=log.compress)
            except OSError as error:
                logger.error("log.rotation_failed", file=str(log.file.live), error=str(error))


@dataclass
class RotationResult:
    """Bytes moved to archives, bytes deleted without archiving, and whether lines may have been lost."""

    archived: int = 0
    discarded: int = 0
    lossless: bool = True


def rotate(log: LogFile, *, max_bytes: int, backups: int, compress: bool) -> RotationResult | None:
    """Shrinks the live log to `max_bytes` and keeps at most `backups` archives of that size.

    Returns None when nothing had to be done. The log uses at most `max_bytes * (backups + 1)` on disk, plus what
    the program wrote since the last call. Raises OSError, except for a full disk: then it deletes the oldest
    archives, and when there are none, the older half of the part to archive.
    """
    if not _exceeds(log, max_bytes):
        return None
    with open_existing(log.live, "r+") as live:
        rotation = _Rotator(log, live, max_bytes, backups).run()
    if compress:
        _compress(log, max_bytes)
    return rotation if rotation.archived or rotation.discarded else None


def _exceeds(log: LogFile, limit: int) -> bool:
    try:
        stat = log.live.stat()
        if stat.st_size <= limit:
            return False
        with open_existing(log.live) as live:
            stamp = read_stamp(live)
    except FileNotFoundError:
        return False
    # Where only holes can be punched, `st_size` keeps growing; the archived head and the blocks in use count.
    removable = stamp.archived - stamp.base if stamp else 0
    return stat.st_size - removable > limit or getattr(stat, "st_blocks", 0) * 512 > limit


def _compress(log: LogFile, max_bytes: int) -> None:
    for archive in log.archives():
        if archive.kind is not Kind.PLAIN:
            continue
        try:
            # A flooding program needs the next rotation sooner than smaller archives: stop, and compress later.
            if not archives.compress(archive, give_up=lambda: _exceeds(log, 2 * max_bytes)):
                return
        except OSError as error:
            if error.errno not in DISK_FULL:
                raise
            logger.warning("log.compression_skipped", file=str(archive.path), reason="disk full")


class _Rotator:
    def __init__(self, log: LogFile, live: FileIO, max_bytes: int, backups: int) -> None:
        self.log = log
        self.live = live
        self.backups = backups
        self.block = filesystem.block_size(live)
        self.chunk = max(max_bytes // self.block, 1) * self.block
        self.limit = max(max_bytes, self.chunk)
        self.rotation = RotationResult()

    def run(self) -> RotationResult:
        self.finish_interrupted()
        for _ in range(MAX_STEPS):
            layout = read_layout(self.log, self.live)
            if layout.live_bytes <= self.limit or not self.step(layout):
                break
        return self.rotation

    def finish_interrupted(self) -> None:
        layout = read_layout(self.log, self.live)
        whole = {archive.start for archive in layout.archives if archive.kind is Kind.COMPRESSED}
        for file in self.log.files():
            if file.kind in PENDING and layout.removable and file.end == layout.archived:
                file.path.rename(file.as_kind(PENDING[file.kind]).path)
            elif file.kind not in FINISHED or (file.kind is Kind.PLAIN and file.start in whole):
                file.path.unlink()
        if layout.removable:
            self.remove_head(0, layout.removable)

    def step(self, layout: Layout) -> bool:
        """Archives one chunk, or discards the chunks that exceed `backups`. False: stop until the next call."""
        chunks = layout.live_bytes // self.chunk
        self.prune(max(self.backups - chunks, 0))
        if chunks > self.backups:
            return self.discard(layout, (chunks - self.backups) * self.chunk)
        try:
            return self.archive(layout)
        except OSError as error:
            if error.errno not in DISK_FULL:
                raise
            logger.warning("log.oldest_lines_discarded", file=str(self.log.live), reason="disk full")
            self.prune(0)
            return self.discard(layout, max(self.chunk // 2, self.block))

    def archive(self, layout: Layout) -> bool:
        part = self.head(layout, self.chunk, Kind.PLAIN_PART)  # renamed by `commit`; a crash leaves a .part file
        try:
            if not self.copy(layout, part):
                return False
        except OSError:
            part.path.unlink(missing_ok=True)
            raise
        self.commit(layout, part)
        self.rotation.archived += part.length
        return True

    def discard(self, layout: Layout, length: int) -> bool:
        part = self.head(layout, length, Kind.DISCARDED_PART)
        create_private(part.path).close()
        self.commit(layout, part)
        self.rotation.discarded += part.length
        return True

    def head(self, layout: Layout, length: int, kind: Kind) -> Archive:
        """The next `length` bytes to remove from the live file, in whole blocks."""
        # FALLOC_FL_COLLAPSE_RANGE refuses to remove the whole file, so at least one byte stays.
        size = layout.end - layout.base
        upto = min(layout.removable + length, size - 1) // self.block * self.block
        return self.log.archive(layout.archived, layout.base + upto, kind)

    def copy(self, layout: Layout, part: Archive) -> bool:
        """Deletes the oldest archives when the disk is full. False if the program truncated its log."""
        with create_private(part.path) as target:
            while (done := target.tell()) < part.length:
                try:
                    offset = layout.removable + done
                    if not filesystem.copy_some(self.live, offset, target, part.length - done):
                        return False
                except OSError as error:
                    if error.errno not in DISK_FULL or not self.prune_oldest():
                        raise
            os.fsync(target.fileno())
        return True

    def commit(self, layout: Layout, part: Archive) -> None:
        # The stamp must be on disk before the archive gets its final name: docs/adr/0004-log-capture.md.
        filesystem.write_durably(self.live, Stamp(layout.base, part.end).to_bytes())
        part.path.rename(part.as_kind(PENDING[part.kind]).path)
        self.remove_head(layout.removable, part.end - layout.base)

    def remove_head(self, done: int, upto: int) -> None:
        if filesystem.remove_head(self.live, done, upto) is filesystem.shift_to_front:
            self.rotation.lossless = False

    def prune_oldest(self) -> bool:
        count = len(self.log.archives())
        self.prune(count - 1)
        return count > 0

    def prune(self, keep: int) -> None:
        finished = [file for file in self.log.files() if file.kind in FINISHED]
        kept = readable(finished)[-keep:] if keep > 0 else []
        for file in finished:
            if file in kept:
                continue
            if file is not finished[-1]:
                file.path.unlink()
            elif file.kind is not Kind.DISCARDED:
                # The name of the newest archive records where the live file starts, so keep it, empty.
                os.truncate(file.path.rename(file.as_kind(Kind.DISCARDED).path), 0)
