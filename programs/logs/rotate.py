"""Moves the oldest part of a live log into archives while its program goes on appending.

Maintenance: call it from one place at a time for a log (the agent's worker thread). Where the file system can
remove the head of a file (`blocks.remove_head`) no line is lost or doubled, whenever the rotation is interrupted.
"""

from __future__ import annotations

import errno
import logging
import os
from dataclasses import dataclass
from io import FileIO

from . import archives, filesystem
from .layout import Layout, Stamp, read_stamp, survey
from .paths import FINISHED, PENDING, Archive, Kind, LogFile, create_private, readable

logger = logging.getLogger(__name__)

NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
# One call must end though a program floods its log: then the next call goes on.
STEPS = 8


@dataclass
class Rotation:
    """What one call did: bytes moved to archives, bytes dropped unread, and whether lines may have been lost."""

    archived: int = 0
    discarded: int = 0
    lossless: bool = True


def rotate(log: LogFile, *, max_bytes: int, backups: int, compress: bool) -> Rotation | None:
    """Bring the live log back under `max_bytes` and keep at most `backups` archives of that size.

    Returns None when there was nothing to do. On disk the log takes at most `max_bytes * (backups + 1)`, and for
    a moment what the program wrote since the last call on top. Raises OSError, but not for a full disk: then the
    oldest archives make room, and without any the older half of what was to be archived is discarded.
    """
    if not _exceeds(log, max_bytes):
        return None
    with FileIO(log.live, "r+") as live:
        rotation = _Rotator(log, live, max_bytes, backups).run()
    if compress:
        _compress(log, max_bytes)
    return rotation if rotation.archived or rotation.discarded else None


def _exceeds(log: LogFile, limit: int) -> bool:
    """Whether the live file, without what is archived already, or its place on disk is larger than `limit`."""
    try:
        stat = log.live.stat()
        if stat.st_size <= limit:
            return False
        with FileIO(log.live) as live:
            stamp = read_stamp(live)
    except FileNotFoundError:
        return False
    removable = stamp.archived - stamp.base if stamp else 0
    return stat.st_size - removable > limit or getattr(stat, "st_blocks", 0) * 512 > limit


def _compress(log: LogFile, max_bytes: int) -> None:
    """Compress what is plain yet. A flood comes first: what is given up now is done after a later rotation."""
    for archive in log.archives():
        if archive.kind is not Kind.PLAIN:
            continue
        try:
            if not archives.compress(archive, give_up=lambda: _exceeds(log, 2 * max_bytes)):
                return
        except OSError as error:
            if error.errno not in NO_ROOM:
                raise
            logger.warning("no room to compress %s: it stays as it is", archive.path)


class _Rotator:
    def __init__(self, log: LogFile, live: FileIO, max_bytes: int, backups: int) -> None:
        self.log = log
        self.live = live
        self.backups = backups
        self.block = filesystem.block_size(live)
        self.chunk = max(max_bytes // self.block, 1) * self.block
        self.limit = max(max_bytes, self.chunk)
        self.rotation = Rotation()

    def run(self) -> Rotation:
        self.finish_interrupted()
        for _ in range(STEPS):
            layout = survey(self.log, self.live)
            if layout.live_bytes <= self.limit or not self.step(layout):
                break
        return self.rotation

    def finish_interrupted(self) -> None:
        layout = survey(self.log, self.live)
        whole = {archive.start for archive in layout.archives if archive.kind is Kind.COMPRESSED}
        for file in self.log.files():
            if file.kind in PENDING and layout.removable and file.end == layout.archived:
                file.path.rename(file.as_kind(PENDING[file.kind]).path)
            elif file.kind not in FINISHED or (file.kind is Kind.PLAIN and file.start in whole):
                file.path.unlink()
        if layout.removable:
            self.remove_head(0, layout.removable)

    def step(self, layout: Layout) -> bool:
        """Archive one chunk, or discard at once what would be deleted as the oldest. False: give up for now."""
        chunks = layout.live_bytes // self.chunk
        self.prune(max(self.backups - chunks, 0))
        if chunks > self.backups:
            return self.discard(layout, (chunks - self.backups) * self.chunk)
        try:
            return self.archive(layout)
        except OSError as error:
            if error.errno not in NO_ROOM:
                raise
            logger.warning("no room to archive %s: discarding its oldest part", self.log.live)
            self.prune(0)
            return self.discard(layout, max(self.chunk // 2, self.block))

    def archive(self, layout: Layout) -> bool:
        part = self.head(layout, self.chunk, Kind.PLAIN_PART)
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
        part = self.head(layout, length, Kind.GONE_PART)
        create_private(part.path).close()
        self.commit(layout, part)
        self.rotation.discarded += part.length
        return True

    def head(self, layout: Layout, length: int, kind: Kind) -> Archive:
        """The next `length` bytes to leave the live file: whole blocks, never all (the kernel's rule)."""
        size = layout.end - layout.base
        upto = min(layout.removable + length, size - 1) // self.block * self.block
        return self.log.archive(layout.archived, layout.base + upto, kind)

    def copy(self, layout: Layout, part: Archive) -> bool:
        """Fill the archive, making room with the oldest ones. False when the program cut its own log meanwhile."""
        with create_private(part.path) as target:
            while (done := target.tell()) < part.length:
                try:
                    offset = layout.removable + done
                    if not filesystem.copy_some(self.live, offset, target, part.length - done):
                        return False
                except OSError as error:
                    if error.errno not in NO_ROOM or not self.prune_oldest():
                        raise
            os.fsync(target.fileno())
        return True

    def commit(self, layout: Layout, part: Archive) -> None:
        filesystem.write_durably(self.live, Stamp(layout.base, part.end).encoded())
        part.path.rename(part.as_kind(PENDING[part.kind]).path)
        self.remove_head(layout.removable, part.end - layout.base)

    def remove_head(self, done: int, upto: int) -> None:
        if filesystem.remove_head(self.live, done, upto) is filesystem.shift:
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
            elif file.kind is not Kind.GONE:
                os.truncate(file.path.rename(file.as_kind(Kind.GONE).path), 0)
