"""Straight from /proc: 4 µs a process, 2 µs less than with the file opened anew each time, a tenth of psutil."""

from __future__ import annotations

import os
import resource

from .base import Extras, Sample

TICK_MS = 1000 // os.sysconf("SC_CLK_TCK")
LINE = 1024  # more than its fifty-two numbers can take
PAGE = os.sysconf("SC_PAGE_SIZE")
# Since Linux 6.2 the size of /proc/<pid>/fd is the number of open files; listing them takes five times as long.
FOLDER_TELLS_COUNT = os.stat("/proc/self/fd").st_size > 0  # noqa: PTH116


class LinuxReader:
    """Keeps the stat files of the processes it knows open, as many as a quarter of the descriptors allows.

    A kept file can never speak of another process: once its own has ended, reading it fails for ever.
    """

    def __init__(self) -> None:
        self._files: dict[int, int] = {}
        self._lines: dict[int, bytes] = {}
        self._samples: dict[int, Sample] = {}
        self._most_files = resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 4

    def read(self) -> dict[int, Sample]:
        """What sleeps looks the same as before, byte for byte, and is the same object as before."""
        before, files, pread = self._lines, self._files, os.pread
        samples, lines = {}, {}
        for name in filter(str.isdigit, os.listdir("/proc")):  # noqa: PTH208  (Path objects would double the cost)
            pid = int(name)
            try:
                line = pread(files[pid], LINE, 0)
            except (KeyError, ProcessLookupError):
                line = self._line_of_new(pid)
            if line:
                samples[pid] = self._samples[pid] if line == before.get(pid) else _parse(pid, line)
                lines[pid] = line
        self._samples, self._lines = samples, lines
        for pid in files.keys() - samples.keys():
            os.close(files.pop(pid))
        return samples

    def _line_of_new(self, pid: int) -> bytes:
        """As /proc has it; nothing when there is no such process any more."""
        if pid in self._files:
            os.close(self._files.pop(pid))
        try:
            file = os.open(f"/proc/{pid}/stat", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:  # ended meanwhile, or no descriptors left
            return b""
        return self._first_line(pid, file)

    def _first_line(self, pid: int, file: int) -> bytes:
        try:
            line = os.pread(file, LINE, 0)
        except ProcessLookupError:
            line = b""
        if line and len(self._files) < self._most_files:
            self._files[pid] = file
        else:
            os.close(file)
        return line

    def extras(self, pid: int) -> Extras:
        read_bytes, write_bytes = _io(pid)
        return Extras(_open_files(pid), read_bytes, write_bytes)

    def close(self) -> None:
        for file in self._files.values():
            os.close(file)
        self._files.clear()
        self._samples, self._lines = {}, {}


def _parse(pid: int, line: bytes) -> Sample:
    f = line[line.rindex(b")") + 2 :].split(None, 22)  # the name may hold spaces and brackets
    own, waited = int(f[11]) + int(f[12]), int(f[13]) + int(f[14])
    return Sample(
        pid, int(f[1]), int(f[3]), int(f[19]), own * TICK_MS, waited * TICK_MS, int(f[21]) * PAGE, int(f[17])
    )


def _open_files(pid: int) -> int | None:
    folder = f"/proc/{pid}/fd"
    try:
        return os.stat(folder).st_size if FOLDER_TELLS_COUNT else len(os.listdir(folder))  # noqa: PTH116, PTH208
    except OSError:
        return None


def _io(pid: int) -> tuple[int | None, int | None]:
    """Bytes read from and written to storage. Only root may ask about the processes of other users."""
    try:
        file = os.open(f"/proc/{pid}/io", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None, None
    try:
        words = os.read(file, 1024).split()
    except OSError:
        return None, None
    finally:
        os.close(file)
    return int(words[9]), int(words[11])
