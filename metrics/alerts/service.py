"""The agent's alert service: evaluates the rules for the host's programs after each recorded interval."""

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
SLICE_ALERTS = 50  # in one transaction


class AlertService:
    """Evaluates in a thread and writes in the journal's writer thread.

    Nothing is evaluated before it is in the database (`recorded_until` of the recorder), so a busy database delays
    alerts but causes none. Decisions that are not written yet are replaced by those of the next evaluation, which
    sees the same rows, so no alert is lost or reported twice.
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
        self._pending = Decisions()
        self._evaluated_until = 0
        self._is_idle = False

    async def run(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            end = self._recorded_until()
            if end != self._evaluated_until:  # it decreases when the clock is set back
                await asyncio.to_thread(self._evaluate_safely, end)
            try:
                await asyncio.wait_for(stop.wait(), settings.SAMPLE_SECONDS)
            except TimeoutError:
                continue

    def _evaluate_safely(self, end: int) -> None:
        started_at = time.monotonic()
        try:
            self.evaluate(end)
            self._evaluated_until = end
        except Exception as error:
            if is_outage(error):  # the next round tries again
                log.warning("alerts.no_database", error=str(error))
            else:
                log.exception("alerts.evaluation_failed", end=end)
                self._evaluated_until = end
        finally:
            connection.close()  # each worker thread would keep its own connection and page cache
        if (seconds := time.monotonic() - started_at) > RAW.width:
            log.warning("alerts.evaluation_slow", seconds=round(seconds, 1))

    def evaluate(self, end: int) -> None:
        """Evaluates the history up to `end` and queues the decisions. One query if there are no rules."""
        rules = enabled_rules()
        if not rules and self._is_idle:
            return
        decisions = evaluate(self._host, end, rules)
        self._is_idle = not rules and not decisions
        with self._lock:
            self._pending = decisions
        if decisions:
            self._put_batch(self._write)

    # --- The writer thread ------------------------------------------------------------------------------

    def _write(self) -> None:
        with self._lock:
            decisions = self._pending
        slice_, rest = decisions.split(SLICE_ALERTS)
        writer.write(slice_, self._host)
        transaction.on_commit(partial(self._written, decisions, rest))

    def _written(self, decisions: Decisions, rest: Decisions) -> None:
        with self._lock:
            if self._pending is decisions:
                self._pending = rest
            has_more = bool(self._pending)
        if has_more:
            self._put_batch(self._write)
