"""Argon2 with a queue, since each hash takes 100 MB of memory."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.contrib.auth.hashers import Argon2PasswordHasher

from core.exceptions import TooManyRequestsError

MAX_WAITING = 8
RETRY_SECONDS = 5
BUSY = "Too many people are logging in at the same time. Try again in a few seconds."


class HashQueue:
    """One hash at a time. Raises TooManyRequestsError when MAX_WAITING others wait already."""

    def __init__(self, waiting: int = MAX_WAITING) -> None:
        self._places = threading.BoundedSemaphore(1 + waiting)
        self._hashing = threading.Lock()

    @contextmanager
    def turn(self) -> Iterator[None]:
        if not self._places.acquire(blocking=False):
            raise TooManyRequestsError(BUSY, RETRY_SECONDS)
        try:
            with self._hashing:
                yield
        finally:
            self._places.release()


queue = HashQueue()


class QueuedArgon2PasswordHasher(Argon2PasswordHasher):
    """Covers everything that hashes a password: log-ins, new passwords and the set-up page."""

    def encode(self, password: str, salt: Any) -> str:
        with queue.turn():
            return super().encode(password, salt)

    def verify(self, password: str, encoded: str) -> bool:
        with queue.turn():
            return super().verify(password, encoded)
