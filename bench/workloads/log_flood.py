"""usage: log_flood.py FILE LINES BYTES_PER_SECOND

Writes its pid to FILE, waits for FILE.go, prints numbered lines of 100 bytes at that rate, creates FILE.done and
sleeps.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

LINE_BYTES = 100
LINES_PER_WRITE = 5_000
FILLER = b"x" * (LINE_BYTES - 11)


def lines(first: int, count: int) -> bytes:
    return b"".join(b"%09d %s\n" % (number, FILLER) for number in range(first, first + count))


def write_all(data: bytes) -> None:
    while data:
        data = data[os.write(1, data) :]


def main(record: Path, total: int, bytes_per_second: int) -> None:
    while not record.with_suffix(".go").exists():
        time.sleep(0.01)
    began = time.monotonic()
    for first in range(0, total, LINES_PER_WRITE):
        time.sleep(max(0.0, began + first * LINE_BYTES / bytes_per_second - time.monotonic()))
        write_all(lines(first, min(LINES_PER_WRITE, total - first)))
    record.with_suffix(".done").touch()
    time.sleep(1_000_000)


if __name__ == "__main__":
    record_file = Path(sys.argv[1])
    record_file.write_text(f"{os.getpid()} {time.time_ns()}\n")
    main(record_file, int(sys.argv[2]), int(sys.argv[3]))
