"""The programs under supervision, and what they themselves wrote down about their starts and their output."""

from __future__ import annotations

import gzip
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

from bench.contender import Program
from bench.waiting import wait_until
from bench.workloads.flood import LINE_BYTES

SCRIPTS = Path(__file__).parent / "workloads"
FLOOD_LINE = re.compile(rb"(\d{9}) x{%d}\n" % (LINE_BYTES - 11))


@dataclass(frozen=True)
class Start:
    """A program's own first line: its pid and the clock (ns since the epoch) when it ran."""

    pid: int
    time_ns: int


class Starters:
    """`count` programs that note each of their starts in a file of their own and then sleep."""

    def __init__(self, directory: Path, count: int) -> None:
        self.marks = directory / "marks"
        self.marks.mkdir()
        script = str(SCRIPTS / "starter.sh")
        names = [f"p{index}" for index in range(count)]
        self.programs = [Program(name, ("/bin/sh", script, str(self.marks / name))) for name in names]

    def starts(self, program: Program) -> list[Start]:
        """Every start so far, oldest first. A line still being written is not counted."""
        path = self.marks / program.name
        lines = path.read_text().splitlines(keepends=True) if path.exists() else []
        return [Start(*map(int, line.split())) for line in lines if line.endswith("\n")]

    def pids(self) -> set[int]:
        return {starts[-1].pid for program in self.programs if (starts := self.starts(program))}

    def forget(self) -> None:
        """Drop what was noted so far: the starts to be measured come next."""
        for path in self.marks.iterdir():
            path.unlink()

    def wait_until_started(self, *, seconds: float) -> int:
        """Wait for each program's first line. Returns the time (ns) of the last of them."""

        def all_started() -> bool:
            # Counting names is one system call or two; reading 500 files at each look would slow the managers.
            if sum(1 for _ in self.marks.iterdir()) < len(self.programs):
                return False
            return all(self.starts(program) for program in self.programs)

        wait_until(all_started, seconds=seconds, failing=f"not all of {len(self.programs)} programs started")
        return max(self.starts(program)[0].time_ns for program in self.programs)

    def wait_for_successor(self, program: Program, starts_before: int, *, seconds: float) -> None:
        wait_until(
            lambda: len(self.starts(program)) > starts_before,
            seconds=seconds,
            failing=f"{program.name} was killed and did not come back",
        )


class Flood:
    """One program that prints `lines` numbered lines of 100 bytes at a given pace, its log rotated on the way."""

    def __init__(self, directory: Path, *, lines: int, bytes_per_second: int, rotations: int) -> None:
        self.lines = lines
        self.marks = directory / "flood"
        script = str(SCRIPTS / "flood.py")
        self.program = Program(
            "flood",
            (sys.executable, "-S", script, str(self.marks), str(lines), str(bytes_per_second)),
            log_max_bytes=self.bytes // (rotations + 2),
            log_backups=4 * rotations,
        )

    @property
    def bytes(self) -> int:
        return self.lines * LINE_BYTES

    def pids(self) -> set[int]:
        return {int(self.marks.read_text().split()[0])} if self.marks.exists() else set()

    def go(self) -> None:
        self.marks.with_suffix(".go").touch()

    def is_written(self) -> bool:
        return self.marks.with_suffix(".done").exists()


@dataclass(frozen=True)
class LogCheck:
    """What became of the numbered lines: never seen again, seen twice, or no longer a whole line."""

    lost: int
    repeated: int
    broken: int


def check_log(files: Sequence[Path], lines: int) -> LogCheck:
    """Read rotated files (oldest first, `.gz` too) as one text, as a line may be split between two of them."""
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
