"""The agent's part: it looks at the programs of its own host each time another interval is recorded."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from functools import partial

import structlog
from django.conf import settings
from django.db import connection, transaction

from core.db_errors import is_outage
from metrics.storage.tiers import RAW
from programs.models import Host

from . import writer
from .evaluation import Decisions, enabled_rules, evaluate

log = structlog.get_logger(__name__)
SLICE = 50  # alerts in one transaction


class Watch:
    """A service of the agent. Reading is done in a thread, writing as a batch of the journal.

    `recorded_until` is the recorder's: nothing is judged before all of it is in the database, so a database that
    is busy delays alerts and makes none of its own. What is decided and not yet written is replaced by what the
    next look decides: it sees the same rows, so nothing is lost and nothing told twice.
    """

    def __init__(
        self,
        host: Host,
        put_batch: Callable[[Callable[[], None]], None],
        recorded_until: Callable[[], int],
    ) -> None:
        self._host = host
        self._put_batch = put_batch
        self._recorded_until = recorded_until
        self._lock = threading.Lock()
        self._decided = Decisions()
        self._looked_at = 0
        self._is_idle = False

    async def run(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            end = self._recorded_until()
            if end != self._looked_at:  # it is less than before when the clock was set back
                await asyncio.to_thread(self._look_safely, end)
            try:
                await asyncio.wait_for(stop.wait(), settings.SAMPLE_SECONDS)
            except TimeoutError:
                continue

    def _look_safely(self, end: int) -> None:
        begun = time.monotonic()
        try:
            self.look(end)
            self._looked_at = end
        except Exception as error:
            if is_outage(error):  # and again in a moment
                log.warning("alerts.no_database", error=str(error))
            else:
                log.exception("alerts.look_failed", end=end)
                self._looked_at = end
        finally:
            connection.close()  # threads come and go here, and each would keep a connection with its cache
        if (seconds := time.monotonic() - begun) > RAW.width:
            log.warning("alerts.look_late", seconds=round(seconds, 1))

    def look(self, end: int) -> None:
        """Decides by what is recorded up to `end`, and has it written. One query when there is no rule."""
        rules = enabled_rules()
        if not rules and self._is_idle:
            return
        decided = evaluate(self._host, end, rules)
        self._is_idle = not rules and not decided
        with self._lock:
            self._decided = decided
        if decided:
            self._put_batch(self._write)

    # --- The writer thread ------------------------------------------------------------------------------

    def _write(self) -> None:
        with self._lock:
            decided = self._decided
        part, rest = decided.split(SLICE)
        writer.write(part, self._host)
        transaction.on_commit(partial(self._written, decided, rest))

    def _written(self, decided: Decisions, rest: Decisions) -> None:
        with self._lock:
            if self._decided is decided:
                self._decided = rest
            is_more = bool(self._decided)
        if is_more:
            self._put_batch(self._write)
