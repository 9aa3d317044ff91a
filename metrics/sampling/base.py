"""The values a reader reports per process, and the sampler per process tree."""

from __future__ import annotations

from typing import NamedTuple, Protocol

InstanceKey = tuple[int, int]  # program id, process index


class RootProcess(NamedTuple):
    """The main process of an instance. Its descendants inherit `marker` in their environment."""

    pid: int
    kernel_start: int
    marker: str


class ProcessSample(NamedTuple):
    """One process at one time. `own` and `reaped` are CPU milliseconds: its own, and of children it waited for."""

    pid: int
    ppid: int
    session: int
    kernel_start: int
    own: int
    reaped: int
    memory_bytes: int
    threads: int


class Extras(NamedTuple):
    """Values that cost more to read; None when the system refuses them. Bytes include those of reaped children."""

    open_files: int | None
    read_bytes: int | None
    write_bytes: int | None


class TreeUsage(NamedTuple):
    """Usage of a process tree since the previous sample; `covered_ms` is 0 when there is no previous sample.

    `cpu_percent` is of one core. Open files and bytes are None unless requested and readable.
    """

    cpu_percent: float
    memory_bytes: int
    threads: int
    cpu_ms: int = 0
    covered_ms: int = 0
    open_files: int | None = None
    read_bytes: int | None = None
    write_bytes: int | None = None


class ProcessReader(Protocol):
    """Reads the process table. Not thread-safe."""

    def read(self) -> dict[int, ProcessSample]:
        """Every readable process, by pid."""

    def extras(self, pid: int) -> Extras: ...

    def close(self) -> None: ...
