"""Processes for the log tests: they write numbered lines, rotate logs, and kill themselves during a rotation."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from types import FrameType
from typing import Any

from programs import logs
from programs.logs.lines import chunks_before, chunks_from
from programs.logs.paths import LogFile, open_for_program
from programs.logs.reader import Reader
from programs.logs.rotate import rotate

BLOCK = 64 * 1024
PACKAGE = str(Path(logs.__file__).parent)
WRITER = """
import os, sys, time
count, per_write, pause = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
for first in range(0, count, per_write):
    os.write(1, b"".join(b"#%07d %s\\n" % (n, b"x" * 60) for n in range(first, first + per_write)))
    if pause:
        time.sleep(pause)
"""
ROTATOR = """
import sys
from pathlib import Path
from programs.logs.paths import LogFile
from programs.logs.rotate import rotate
print("ready", flush=True)
while True:
    rotate(LogFile(Path(sys.argv[1]), 0), max_bytes=65536, backups=10_000, compress=True)
"""


def numbered(numbers: Iterable[int]) -> bytes:
    return b"".join(b"#%07d %s\n" % (number, b"x" * 60) for number in numbers)


def append(log: LogFile, data: bytes) -> None:
    descriptor = open_for_program(log)
    try:
        os.write(descriptor, data)
    finally:
        os.close(descriptor)


def numbers(log: LogFile, *, first_is_torn: bool = False) -> list[int]:
    """The numbers of all readable lines, read in both directions. `first_is_torn` skips the first line."""
    with Reader(log) as reader:
        upwards = [raw for chunk in chunks_from(reader, 0) for _, raw in chunk.lines()]
        downwards = [raw for chunk in chunks_before(reader, reader.end) for _, raw in reversed(chunk.lines())]
    assert upwards == downwards[::-1]
    return [int(raw[1:8]) for raw in upwards[first_is_torn:]]


def start_writer(log: LogFile, count: int, *, per_write: int = 50, pause: float = 0) -> subprocess.Popen[bytes]:
    descriptor = open_for_program(log)
    try:
        return subprocess.Popen(
            [sys.executable, "-c", WRITER, str(count), str(per_write), str(pause)], stdout=descriptor
        )
    finally:
        os.close(descriptor)


def start_rotator(log: LogFile) -> subprocess.Popen[bytes]:
    """Rotates until killed. Returns when the process is ready."""
    rotator = subprocess.Popen([sys.executable, "-c", ROTATOR, str(log.directory)], stdout=subprocess.PIPE)
    assert rotator.stdout and rotator.stdout.readline() == b"ready\n"
    return rotator


def bytes_on_disk(directory: Path) -> int:
    return sum(path.stat().st_blocks * 512 for path in directory.iterdir())


def rotate_and_die(log: LogFile, at: int, *, again: bool, compress: bool) -> bool:
    """Rotates in a fork that kills itself before the `at`th executed line of the package.

    Counts repeated lines only with `again`. Returns False if the rotation finished.
    """
    child = os.fork()
    if child == 0:
        _die_at(at, again=again)
        rotate(log, max_bytes=2 * 4096, backups=9, compress=compress)
        os._exit(0)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])


def _die_at(at: int, *, again: bool) -> None:
    executed: list[object] = []
    seen: set[object] = set()

    def tracer(frame: FrameType, event: str, _arg: object) -> Any:
        place = frame.f_code.co_filename, frame.f_lineno
        if not place[0].startswith(PACKAGE):
            return None
        if event == "line" and (again or place not in seen):
            seen.add(place)
            executed.append(place)
            if len(executed) == at:
                os.kill(os.getpid(), signal.SIGKILL)
        return tracer

    sys.settrace(tracer)


def kill_at_each_line(where: Path, *, again: bool) -> int:
    """Kills a rotation before each line of the package in turn and checks the log. Returns the number of kills."""
    for at in range(1, 100_000):
        log = LogFile(Path(tempfile.mkdtemp(dir=where)), 0)
        append(log, numbered(range(150)))
        rotate(log, max_bytes=2 * 4096, backups=9, compress=False)
        append(log, numbered(range(150, 450)))
        killed = rotate_and_die(log, at, again=again, compress=True)
        assert numbers(log) == list(range(450)), f"after kill {at}"
        append(log, numbered(range(450, 600)))
        rotate(log, max_bytes=2 * 4096, backups=9, compress=True)
        assert numbers(log) == list(range(600)), f"after kill {at} and one more rotation"
        assert not list(log.directory.glob("*.part")), f"left by kill {at}"
        shutil.rmtree(log.directory)
        if not killed:
            return at - 1
    raise AssertionError("the rotation never finished")


if __name__ == "__main__":
    # The kernel keeps what a killed process has written, so syncing would only slow the test down.
    os.fsync = lambda fd: None
    print(kill_at_each_line(Path(sys.argv[1]), again=sys.argv[2] == "again"))
