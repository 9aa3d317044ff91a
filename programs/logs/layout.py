"""Finds which file holds which bytes of a log, from the file names and the first bytes of the live file alone.

Rotation keeps no state file that a crash could lose. Before it removes the head of the live file, which is already
archived, it overwrites that head with a stamp: the first byte of this file is logical offset `base`, and
everything before `archived` is in archives. Removing the head removes the stamp with it. Without a stamp, the live
file starts where the newest archive ends. With a stamp, the head still has to be removed, or remains as a hole
where the file system can only punch holes. docs/adr/0004-log-capture.md lists every intermediate state.
"""

from __future__ import annotations

import errno
import os
import struct
import zlib
from dataclasses import dataclass
from io import FileIO
from typing import NamedTuple

from .paths import FINISHED, PENDING, Archive, LogFile, readable

MAGIC = b"\0rotated-head-1\0\0"
STAMP = struct.Struct(f"<{len(MAGIC)}sQQL")
MAX_ATTEMPTS = 1000


class Stamp(NamedTuple):
    base: int
    archived: int

    def to_bytes(self) -> bytes:
        body = STAMP.pack(MAGIC, *self, 0)[:-4]
        return body + zlib.crc32(body).to_bytes(4, "little")


@dataclass(frozen=True)
class Layout:
    """A consistent snapshot. Logical offset `n >= archived` is byte `n - base` of the live file."""

    archives: tuple[Archive, ...]
    base: int
    archived: int
    end: int

    @property
    def start(self) -> int:
        return self.archives[0].start if self.archives else self.archived

    @property
    def removable(self) -> int:
        """Bytes at the head of the live file that are archived but not removed yet."""
        return self.archived - self.base

    @property
    def live_bytes(self) -> int:
        return self.end - self.archived


def read_stamp(live: FileIO) -> Stamp | None:
    live.seek(0)
    head = live.read(STAMP.size)
    if len(head) < STAMP.size or not head.startswith(MAGIC):
        return None
    stamp = Stamp(*STAMP.unpack(head)[1:3])
    return stamp if stamp.to_bytes() == head else None


def read_layout(log: LogFile, live: FileIO | None) -> Layout:
    """Correct also during a rotation. `live` is None if there is no live file. Raises OSError (EBUSY)."""
    for _ in range(MAX_ATTEMPTS):
        files = log.files()
        stamp = read_stamp(live) if live else None
        size = os.fstat(live.fileno()).st_size if live else 0
        # Names, stamp and size cannot be read atomically: repeat until a rotation changed none of them.
        if (read_stamp(live) if live else None) == stamp and log.files() == files:
            return _layout(files, stamp, size)
    raise OSError(errno.EBUSY, "the log rotates faster than its layout can be read", str(log.live))


def _layout(files: list[Archive], stamp: Stamp | None, size: int) -> Layout:
    finished = [file for file in files if file.kind in FINISHED]
    if stamp:
        finished += [file for file in files if file.kind in PENDING and file.end == stamp.archived]
    newest = finished[-1].end if finished else 0
    # A program can write bytes that look like a stamp; a real one also matches the file names and the size.
    is_valid = stamp is not None and stamp.archived == newest and 0 <= newest - stamp.base <= size
    base = stamp.base if stamp and is_valid else newest
    return Layout(tuple(readable(finished)), base, newest, base + size)
