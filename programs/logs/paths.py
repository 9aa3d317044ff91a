"""Where the output of one process lies, and under which names.

`0.log` is the live file the process appends to, `0.times` its time index, and
`0.log.<start>-<end>[.gz]` an archive. Every position is a *logical offset*: bytes ever written to the log,
so an archive, the index and the live file agree on where a line is however often the log was rotated.
"""

from __future__ import annotations

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


class Kind(StrEnum):
    """What a file beside the live one is, told by its suffix."""

    PLAIN = ""
    COMPRESSED = ".gz"
    GONE = ".gone"  # empty: its bytes were discarded, its name still tells where the live file begins
    PLAIN_PART = ".part"
    COMPRESSED_PART = ".gz.part"
    GONE_PART = ".gone.part"


FINISHED = frozenset({Kind.PLAIN, Kind.COMPRESSED, Kind.GONE})
READABLE = frozenset({Kind.PLAIN, Kind.COMPRESSED, Kind.PLAIN_PART})
# What a rotation is about to rename; its stamp says when that may be done.
PENDING = {Kind.PLAIN_PART: Kind.PLAIN, Kind.GONE_PART: Kind.GONE}


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
    """The log of instance `index` of the program whose logs lie in `directory`."""

    directory: Path
    index: int

    @cached_property
    def live(self) -> Path:
        return self.directory / f"{self.index}.log"

    @cached_property
    def live_name(self) -> str:
        """As text, for what is done to every log in every tick: a Path costs more than the look itself."""
        return str(self.live)

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
        """Everything beside the live file, unfinished pieces too, oldest first. Empty without a directory."""
        try:
            names = os.listdir(self.directory)  # noqa: PTH208  (a Path for each name costs ten times as much)
        except FileNotFoundError:
            return []
        matches = filter(None, map(self._archive_name.fullmatch, names))
        return sorted(self.archive(int(m[1]), int(m[2]), Kind(m[3])) for m in matches)

    def archives(self) -> list[Archive]:
        """The finished archives, oldest first."""
        return readable(file for file in self.files() if file.kind in FINISHED)


def readable(files: Iterable[Archive]) -> list[Archive]:
    """Those with content; of a plain archive and its finished compressed copy only the latter."""
    return list({file.start: file for file in files if file.kind in READABLE}.values())


def private(path: str, flags: int) -> int:
    """An opener that makes files for the owner alone."""
    return os.open(path, flags, PRIVATE_FILE)


def create_private(path: Path) -> FileIO:
    """A new empty file, replacing one of that name."""
    return FileIO(path, "w", opener=private)


def open_for_program(log: LogFile) -> int:
    """A descriptor a process may have as stdout and stderr: it only appends and closes on exec.

    Directory and file are made when missing, for the owner alone. Raises OSError, also for a symbolic link.
    """
    log.directory.mkdir(mode=PRIVATE_DIRECTORY, parents=True, exist_ok=True)
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT
    for name in ("O_NOFOLLOW", "O_CLOEXEC"):
        flags |= getattr(os, name, 0)
    return os.open(log.live, flags, PRIVATE_FILE)
