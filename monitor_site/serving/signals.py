"""Waits for signals, exits of children and timeouts in one `select`."""

from __future__ import annotations

import select
import signal
import socket
from types import TracebackType
from typing import Any

from .platform import CHILD_SIGNALS, NOHUP_SIGNALS, STOP_SIGNALS


def _ignore(number: int, frame: Any) -> None:
    """The wake-up descriptor already delivers the signal number to `wait`."""


def reset_for_children() -> None:
    """Lets programs that this process starts have default signal handling, also under `nohup` or cron.

    A child inherits ignored and blocked signals, but not handlers: exec resets those to the default.
    """
    for number in signal.valid_signals():
        if signal.getsignal(number) is signal.SIG_IGN and number != signal.SIGPIPE:  # subprocess resets SIGPIPE
            signal.signal(number, _ignore)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_SETMASK, ())


class Signals:
    """A context manager that handles stop signals and SIGCHLD. Open it in the main thread."""

    def __init__(self) -> None:
        self.stop_requests = 0
        self._reader, self._writer = socket.socketpair()
        self._handlers_before: dict[int, Any] = {}

    def __enter__(self) -> Signals:
        self._reader.setblocking(False)
        self._writer.setblocking(False)
        self._wakeup_before = signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)
        for number in [*STOP_SIGNALS, *CHILD_SIGNALS]:
            if number not in NOHUP_SIGNALS or signal.getsignal(number) is not signal.SIG_IGN:
                self._handlers_before[number] = signal.signal(number, _ignore)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.restore()
        self._reader.close()
        self._writer.close()

    def restore(self) -> None:
        """Restores the previous handlers. A forked child must call it, or its signals would wake its parent."""
        signal.set_wakeup_fd(self._wakeup_before)
        for number, handler in self._handlers_before.items():
            signal.signal(number, handler)
        self._handlers_before.clear()

    def wait(self, timeout: float) -> None:
        """Returns after a signal or `timeout` seconds; counts stop signals in `stop_requests`."""
        readable, _, _ = select.select([self._reader], [], [], max(0.0, timeout))
        if readable:
            self.stop_requests += sum(number in STOP_SIGNALS for number in self._reader.recv(4096))
