"""Signals as something to wait for: one `select` covers them, the death of children and the clock."""

from __future__ import annotations

import select
import signal
import socket
from types import TracebackType
from typing import Any

from .platform import CHILD_SIGNALS, NOHUP_SIGNALS, STOP_SIGNALS


def _note(number: int, frame: Any) -> None:
    """Does nothing: the wake-up descriptor has already carried the number to `wait`."""


class Signals:
    """While open, the signals that stop a process and those that tell of a dead child arrive through `wait`.

    Must be opened in the main thread.
    """

    def __init__(self) -> None:
        self.stops_asked = 0
        self._reader, self._writer = socket.socketpair()
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Signals:
        self._reader.setblocking(False)
        self._writer.setblocking(False)
        self._wakeup_before = signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)
        for number in [*STOP_SIGNALS, *CHILD_SIGNALS]:
            if number not in NOHUP_SIGNALS or signal.getsignal(number) is not signal.SIG_IGN:
                self._before[number] = signal.signal(number, _note)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.forget()
        self._reader.close()
        self._writer.close()

    def forget(self) -> None:
        """Gives the signals back. A forked child calls it first, or its signals would wake its parent."""
        signal.set_wakeup_fd(self._wakeup_before)
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before.clear()

    def wait(self, timeout: float) -> None:
        """Until a signal comes or `timeout` seconds have passed; counts requests to stop in `stops_asked`."""
        readable, _, _ = select.select([self._reader], [], [], max(0.0, timeout))
        if readable:
            self.stops_asked += sum(number in STOP_SIGNALS for number in self._reader.recv(4096))
