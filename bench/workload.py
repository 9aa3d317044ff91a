"""The programs under supervision. They record their own starts and numbered output lines, which are read here."""

from __future__ import annotations

import gzip
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

from bench.managers.base import Program
from bench.waiting import wait_until
from bench.workloads.log_flood import LINE_BYTES

SCRIPTS = Path(__file__).parent / "workloads"
FLOOD_LINE = re.compile(rb"(\d{9}) x{%d}\n" % (LINE_BYTES - 11))


@dataclass(frozen=True)
class StartRecord:
    """A program's pid and the time (ns since the epoch) at which it ran."""

    pid: int
    time_ns: int


class Sleepers:
    """`count` programs that append each start to a file of their own and then sleep."""

    def __init__(self, directory: Path, count: int) -> None:
        self.records = directory / "starts"
        self.records.mkdir()
        script = str(SCRIPTS / "sleeper.sh")
        names = [f"p{index}" for index in range(count)]
        self.programs = [Program(name, ("/bin/sh", script, str(self.records / name))) for name in names]

    def starts(self, program: Program) -> list[StartRecord]:
        """Every start so far, oldest first. Ignores an incomplete last line."""
        path = self.records / program.name
        lines = path.read_text().splitlines(keepends=True) if path.exists() else []
        return [StartRecord(*map(int, line.split())) for line in lines if line.endswith("\n")]

    def pids(self) -> set[int]:
        return {starts[-1].pid for program in self.programs if (starts := self.starts(program))}

    def clear_records(self) -> None:
        for path in self.records.iterdir():
            path.unlink()

    def wait_until_started(self, *, seconds: float) -> int:
        """Wait for the first record of each program. Returns the time (ns) of the latest one."""

        def all_started() -> bool:
            # Listing the folder takes few system calls. Reading 500 files in each poll would slow the managers.
            if sum(1 for _ in self.records.iterdir()) < len(self.programs):
                return False
            return all(self.starts(program) for program in self.programs)

        wait_until(all_started, seconds=seconds, failing=f"not all of {len(self.programs)} programs started")
        return max(self.starts(program)[0].time_ns for program in self.programs)

    def wait_for_restart(self, program: Program, starts_before: int, *, seconds: float) -> None:
        wait_until(
            lambda: len(self.starts(program)) > starts_before,
            seconds=seconds,
            failing=f"{program.name} was killed and did not restart",
        )


class LogFlood:
    """One program that prints `lines` numbered lines of 100 bytes at a fixed rate; its log rotates meanwhile."""

    def __init__(self, directory: Path, *, lines: int, bytes_per_second: int, rotations: int) -> None:
        self.lines = lines
        self.record = directory / "flood"
        script = str(SCRIPTS / "log_flood.py")
        self.program = Program(
            "flood",
            (sys.executable, "-S", script, str(self.record), str(lines), str(bytes_per_second)),
            log_max_bytes=self.bytes // (rotations + 2),
            log_backups=4 * rotations,
        )

    @property
    def bytes(self) -> int:
        return self.lines * LINE_BYTES

    def pids(self) -> set[int]:
        return {int(self.record.read_text().split()[0])} if self.record.exists() else set()

    def begin(self) -> None:
        self.record.with_suffix(".go").touch()

    def is_written(self) -> bool:
        return self.record.with_suffix(".done").exists()


@dataclass(frozen=True)
class LogCheck:
    """Numbers of lines that are missing, that appear again, and that are not one whole line."""

    lost: int
    repeated: int
    broken: int


def check_log(files: Sequence[Path], lines: int) -> LogCheck:
    """Read rotated files (oldest first, plain or `.gz`) as one text: a line may be split between two files."""
    seen = bytearray(lines)
    broken = repeated = 0
    for line in joined_lines(files):
        match = FLOOD_LINE.fullmatch(line)
        number = int(match[1]) if match else lines
        if number >= lines:
            broken += 1
        elif seen[number]:
            repeated += 1
        else:
            seen[number] = 1
    return LogCheck(lost=seen.count(0), repeated=repeated, broken=broken)


def joined_lines(files: Sequence[Path]) -> Iterator[bytes]:
    rest = b""
    for path in files:
        with opened(path) as log:
            for line in log:
                rest += line
                if rest.endswith(b"\n"):
                    yield rest
                    rest = b""
    if rest:
        yield rest


def opened(path: Path) -> BinaryIO:
    return cast(BinaryIO, gzip.open(path)) if path.suffix == ".gz" else path.open("rb")
