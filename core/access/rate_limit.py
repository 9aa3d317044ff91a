"""Limits of failed log-ins and wrong tokens per address. In memory: only the web process answers requests."""

from __future__ import annotations

import ipaddress
import math
import threading
import time

from core.exceptions import TooManyRequestsError

WINDOW_SECONDS = 60.0
MAX_NETWORKS = 10_000  # 2 MB


class FailureLimit:
    """Refuses more than `limit` failures of one network within WINDOW_SECONDS."""

    def __init__(self, limit: int, message: str) -> None:
        self.limit = limit
        self.message = message
        self._lock = threading.Lock()
        self._failures: dict[str, tuple[float, int]] = {}  # network → start of its window, failures; oldest first

    def add(self, address: str | None) -> None:
        """Counts a failure. Raises TooManyRequestsError, without counting, when there were too many."""
        key, now = network_of(address), time.monotonic()
        with self._lock:
            start, count = self._failures.get(key, (now, 0))
            if now - start >= WINDOW_SECONDS:
                del self._failures[key]  # so that the new window goes to the end
                start, count = now, 0
            if count >= self.limit:
                raise TooManyRequestsError(self.message, math.ceil(start + WINDOW_SECONDS - now))
            self._failures[key] = (start, count + 1)
            if len(self._failures) > MAX_NETWORKS:
                del self._failures[next(iter(self._failures))]

    def forgive(self, address: str | None) -> None:
        """Takes one failure back."""
        key = network_of(address)
        with self._lock:
            start, count = self._failures.get(key, (0.0, 0))
            if count > 1:
                self._failures[key] = (start, count - 1)
            else:
                self._failures.pop(key, None)

    def clear(self) -> None:
        with self._lock:
            self._failures.clear()


def network_of(address: str | None) -> str:
    # A whole IPv6 /64 counts as one address, because one customer usually gets a /64.
    origin = address or ""
    return str(ipaddress.ip_network(f"{origin}/64", strict=False)) if ":" in origin else origin
