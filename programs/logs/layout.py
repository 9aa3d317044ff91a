"""Where each byte of a log is at this moment, found from names and the live file's first bytes alone.

A rotation leaves no note that could be lost in a crash. Before it takes the head off the live file it overwrites
that head, which the archive holds already, with a stamp: "my first byte is logical offset `base`, all before
`archived` is in archives". Removing the head removes the stamp in the same step. So: no stamp, and the live
file begins where the newest archive ends; a stamp, and the head is still to be removed (or, where the file
system can only punch holes, stays as a hole). docs/adr/0004-log-capture.md goes through every moment.
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
SURVEYS = 1000


class Stamp(NamedTuple):
    base: int
    archived: int

    def encoded(self) -> bytes:
        body = STAMP.pack(MAGIC, *self, 0)[:-4]
        return body + zlib.crc32(body).to_bytes(4, "little")


@dataclass(frozen=True)
class Layout:
    """One consistent view. The live file's byte `offset - base` is logical byte `offset`, from `archived` on."""

    archives: tuple[Archive, ...]
    base: int
    archived: int
    end: int

    @property
    def start(self) -> int:
        return self.archives[0].start if self.archives else self.archived

    @property
    def removable(self) -> int:
        """How many bytes at the head of the live file are archived already and wait for their removal."""
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
    return stamp if stamp.encoded() == head else None


def survey(log: LogFile, live: FileIO | None) -> Layout:
    """The layout of a log, right also in the middle of a rotation. `live` is None when there is no live file."""
    for _ in range(SURVEYS):
        files = log.files()
        stamp = read_stamp(live) if live else None
        size = os.fstat(live.fileno()).st_size if live else 0
        if (read_stamp(live) if live else None) == stamp and log.files() == files:
            return _layout(files, stamp, size)
    raise OSError(errno.EBUSY, "rotates faster than it can be looked at", str(log.live))


def _layout(files: list[Archive], stamp: Stamp | None, size: int) -> Layout:
    finished = [file for file in files if file.kind in FINISHED]
    if stamp:
        finished += [file for file in files if file.kind in PENDING and file.end == stamp.archived]
    newest = finished[-1].end if finished else 0
    # A program may write what looks like a stamp; only a rotation's own agrees with the names and the size.
    holds = stamp is not None and stamp.archived == newest and 0 <= newest - stamp.base <= size
    base = stamp.base if stamp and holds else newest
    return Layout(tuple(readable(finished)), base, newest, base + size)
