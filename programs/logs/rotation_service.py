"""The agent's log service: notes when how much was written, and rotates what has grown too large."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from typing import NamedTuple

import structlog
from django.conf import settings

from .index import TimeIndex
from .paths import LogFile
from .rotate import rotate

logger = structlog.get_logger(__name__)


class Kept(NamedTuple):
    """One log and how large it may get."""

    file: LogFile
    max_bytes: int
    backups: int
    compress: bool


class LogKeeper:
    """Looks after the logs that `logs` names, every SAMPLE_SECONDS, in one worker thread."""

    def __init__(self, logs: Callable[[], Iterable[Kept]]) -> None:
        self._logs = logs
        self._index = TimeIndex()

    async def run(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            await asyncio.to_thread(self.keep, list(self._logs()), time.time())
            try:
                await asyncio.wait_for(stop.wait(), settings.SAMPLE_SECONDS)
            except TimeoutError:
                continue

    def keep(self, logs: list[Kept], now: float) -> None:
        """One round. A log that cannot be rotated is reported and holds up no other."""
        self._index.note((log.file for log in logs), now)
        for log in logs:
            size = self._index.size(log.file)
            if size is not None and size <= log.max_bytes:
                continue
            try:
                rotate(log.file, max_bytes=log.max_bytes, backups=log.backups, compress=log.compress)
            except OSError as error:
                logger.error("log.rotation_failed", file=str(log.file.live), error=str(error))
