"""File names of the logs of one process.

The process appends to the live file `0.log`; `0.times` is its time index and `0.log.<start>-<end>[.gz]` an
archive. Every position is a *logical offset*, the number of bytes ever written to the log before it. It does not
change when the log is rotated.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from io import FileIO
from pathlib import Path

PRIVATE_DIRECTORY = 0o700
PRIVATE_FILE = 0o600
NO_FOLLOW = getattr(os, "O_NOFOLLOW", 0)


class Kind(StrEnum):
    """The kind of a file beside the live one, given by its suffix."""

    PLAIN = ""
    COMPRESSED = ".gz"
    DISCARDED = ".gone"  # empty: its bytes were deleted, but its name records where the live file starts
    PLAIN_PART = ".part"
    COMPRESSED_PART = ".gz.part"
    DISCARDED_PART = ".gone.part"


FINISHED = frozenset({Kind.PLAIN, Kind.COMPRESSED, Kind.DISCARDED})
READABLE = frozenset({Kind.PLAIN, Kind.COMPRESSED, Kind.PLAIN_PART})
# Files that rotation renames after it has written the stamp.
PENDING = {Kind.PLAIN_PART: Kind.PLAIN, Kind.DISCARDED_PART: Kind.DISCARDED}


@dataclass(frozen=True, order=True)
class Archive:
    """Bytes `start` to `end` of a log, as logical offsets."""

    start: int
    end: int
    kind: Kind
    directory: Path
    index: int

    @cached_property
    def path(self) -> Path:
        return self.directory / f"{self.index}.log.{self.start:016d}-{self.end:016d}{self.kind}"

    @property
    def length(self) -> int:
        return self.end - self.start

    def as_kind(self, kind: Kind) -> Archive:
        return Archive(self.start, self.end, kind, self.directory, self.index)


@dataclass(frozen=True)
class LogFile:
    """The log of instance `index` of the program with the log folder `directory`."""

    directory: Path
    index: int

    @cached_property
    def live(self) -> Path:
        return self.directory / f"{self.index}.log"

    @cached_property
    def live_name(self) -> str:
        return str(self.live)  # for the stat of every log in every tick: with a Path it takes twice as long

    @cached_property
    def time_index(self) -> Path:
        return self.directory / f"{self.index}.times"

    @cached_property
    def _archive_name(self) -> re.Pattern[str]:
        suffixes = "|".join(re.escape(kind) for kind in Kind if kind)
        return re.compile(rf"{self.index}\.log\.(\d{{16}})-(\d{{16}})(|{suffixes})")

    def archive(self, start: int, end: int, kind: Kind) -> Archive:
        return Archive(start, end, kind, self.directory, self.index)

    def files(self) -> list[Archive]:
        """All files except the live one and links, unfinished ones too, oldest first. Empty without a folder."""
        try:
            with os.scandir(self.directory) as entries:  # ten times as fast as a Path for each name
                names = [entry.name for entry in entries if not entry.is_symlink()]
        except FileNotFoundError:
            return []
        matches = filter(None, map(self._archive_name.fullmatch, names))
        return sorted(self.archive(int(m[1]), int(m[2]), Kind(m[3])) for m in matches)

    def archives(self) -> list[Archive]:
        return readable(file for file in self.files() if file.kind in FINISHED)


def readable(files: Iterable[Archive]) -> list[Archive]:
    """Leaves out discarded files, and plain archives that have a compressed copy."""
    # The compressed copy sorts after the plain archive with the same start and replaces it here.
    return list({file.start: file for file in files if file.kind in READABLE}.values())


def private_opener(path: str, flags: int) -> int:
    """Follows no symbolic link: one there counts as a missing file."""
    try:
        return os.open(path, flags | NO_FOLLOW, PRIVATE_FILE)
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        raise FileNotFoundError(errno.ENOENT, "Is a symbolic link", path) from error


def create_private(path: Path) -> FileIO:
    return FileIO(path, "w", opener=private_opener)


def open_existing(path: Path, mode: str = "r") -> FileIO:
    return FileIO(path, mode, opener=private_opener)


def open_for_program(log: LogFile) -> int:
    """Opens the live file for appending as stdout and stderr of a process; creates folder and file if missing.

    A symbolic link in place of either is removed, not followed. Raises OSError.
    """
    for path in (log.directory, log.live):
        if path.is_symlink():
            path.unlink()
    log.directory.mkdir(mode=PRIVATE_DIRECTORY, parents=True, exist_ok=True)
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | NO_FOLLOW | getattr(os, "O_CLOEXEC", 0)
    return os.open(log.live, flags, PRIVATE_FILE)
