"""What is read of a process, and what is said of a tree."""

from __future__ import annotations

from typing import NamedTuple, Protocol

Key = tuple[int, int]  # program id, process index


class Root(NamedTuple):
    """The main process of an instance; `marker` is in the environment of everything that descends from it."""

    pid: int
    kernel_start: int
    marker: str


class Sample(NamedTuple):
    """One process at one moment. CPU milliseconds: its `own`, and those of the children it has `waited` for."""

    pid: int
    ppid: int
    session: int
    kernel_start: int
    own: int
    waited: int
    memory_bytes: int
    threads: int


class Extras(NamedTuple):
    """What costs more to read. None: not told. The bytes include those of the children it has waited for."""

    open_files: int | None
    read_bytes: int | None
    write_bytes: int | None


class TreeUsage(NamedTuple):
    """What a tree used since the last sample; `covered_ms` 0 means that there is none to compare with yet.

    `cpu_percent` is of one core. Open files and bytes are only there when they were asked for and told.
    """

    cpu_percent: float
    memory_bytes: int
    threads: int
    cpu_ms: int = 0
    covered_ms: int = 0
    open_files: int | None = None
    read_bytes: int | None = None
    write_bytes: int | None = None


class Reader(Protocol):
    """Reads the process table. Not for several threads at once."""

    def read(self) -> dict[int, Sample]:
        """Every process that may be looked at, by pid."""

    def extras(self, pid: int) -> Extras: ...

    def close(self) -> None: ...
