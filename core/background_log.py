"""A log handler that never blocks its caller."""

from __future__ import annotations

import contextlib
import logging
import os
import queue
import threading

CAPACITY = 10_000  # lines
CLOSE_SECONDS = 1.0


class BackgroundHandler(logging.Handler):
    """Writes lines to a file descriptor from a thread.

    Otherwise a terminal stopped with Ctrl-S or a pager would block the agent and every restart. Lines that do not
    fit the queue are counted and reported. The thread does not survive a fork, so
    processes that fork workers must not use it.
    """

    def __init__(self, descriptor: int = 2, capacity: int = CAPACITY) -> None:
        super().__init__()
        self._descriptor = descriptor
        self._lines: queue.Queue[bytes | None] = queue.Queue(capacity)
        self._dropped = 0
        self._thread = threading.Thread(target=self._write_lines, name="log", daemon=True)
        self._thread.start()

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._lines.put_nowait((self.format(record) + "\n").encode("utf-8", "backslashreplace"))
        except queue.Full:
            self._dropped += 1
        except Exception:
            self.handleError(record)

    def close(self) -> None:
        """Waits up to CLOSE_SECONDS for the remaining lines."""
        with contextlib.suppress(queue.Full):
            self._lines.put_nowait(None)
            self._thread.join(CLOSE_SECONDS)
        super().close()

    def _write_lines(self) -> None:
        while (line := self._lines.get()) is not None:
            self._write(line)
            if self._dropped and self._lines.empty():
                dropped, self._dropped = self._dropped, 0
                self._write(f"{dropped} log lines were dropped because nothing read them\n".encode())

    def _write(self, line: bytes) -> None:
        # Not through sys.stderr: a thread stuck inside its lock would abort the interpreter at exit.
        with contextlib.suppress(OSError):  # the reader is gone, so there is nowhere to report it
            while line:
                line = line[os.write(self._descriptor, line) :]
