"""Sends errors to Sentry if SENTRY_DSN is set: masked, without variables, at most one per kind and minute.

The SDK takes 13 MB and half a second, so the sending thread loads it with the first error. Its integrations are
off, because they send requests, local variables, the environment and log lines.
"""

from __future__ import annotations

import os
import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from multiprocessing.util import Finalize
from typing import Any

import structlog
from django.conf import settings
from structlog.contextvars import get_contextvars

from core.masking import masked

from .occurrence import make_occurrence

log = structlog.get_logger(__name__)
MAX_QUEUED = 20
SECONDS_PER_KIND = 60.0  # between two events of the same kind
MAX_KINDS = 200
CLOSE_SECONDS = 2.0


@dataclass(frozen=True)
class SentryReport:
    error: BaseException
    place: str
    fingerprint: str
    request_id: str
    unsent: int  # errors of the same kind since the last event


class SentryReporter:
    """`record` never blocks and never raises. Does nothing before `open`."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self.process = ""
        self.reset()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self.reset)  # a fork copies neither threads nor connections

    def reset(self) -> None:
        self._lock = threading.RLock()
        self._reports: queue.Queue[SentryReport | None] = queue.Queue(MAX_QUEUED)
        self._sent_at: dict[str, float] = {}
        self._unsent: dict[str, int] = {}
        self._thread: threading.Thread | None = None

    def open(self, process: str) -> None:
        self.process = process

    def record(self, error: BaseException, place: str = "") -> None:
        if not (self.process and settings.SENTRY_DSN):
            return
        try:
            report = self._make_report(error, place)
            if report is not None:
                self._enqueue(report)
        except Exception as fault:  # logged without exc_info, which would call this again
            log.warning("sentry.not_recorded", error=repr(fault))

    def _make_report(self, error: BaseException, place: str) -> SentryReport | None:
        """None if one of its kind was sent less than SECONDS_PER_KIND ago."""
        kind, now = make_occurrence(error, self.process, place, datetime.now(UTC)).fingerprint, self._clock()
        with self._lock:
            if now - self._sent_at.get(kind, -SECONDS_PER_KIND) < SECONDS_PER_KIND:
                self._unsent[kind] = self._unsent.get(kind, 0) + 1
                return None
            if len(self._sent_at) >= MAX_KINDS:
                self._sent_at.clear()
                self._unsent.clear()
            self._sent_at[kind] = now
            unsent = self._unsent.pop(kind, 0)
        return SentryReport(error, place, kind, str(get_contextvars().get("request_id", "")), unsent)

    def _enqueue(self, report: SentryReport) -> None:
        try:
            self._reports.put_nowait(report)
        except queue.Full:
            log.warning("sentry.dropped", hint="too many different errors at once")
        with self._lock:
            if self._thread is None:
                Finalize(None, self.close, exitpriority=0)
                self._thread = threading.Thread(target=self._run, name="sentry", daemon=True)
                self._thread.start()

    def close(self, seconds: float = CLOSE_SECONDS) -> None:
        thread, self._thread = self._thread, None
        if thread is None:
            return
        try:
            self._reports.put(None, timeout=seconds)
        except queue.Full:
            return
        thread.join(seconds)

    def _run(self) -> None:
        client = None
        while (report := self._reports.get()) is not None:
            try:
                client = client or make_client()
                client.capture_event(sentry_event(report, self.process, client.options))
            except Exception as fault:
                log.warning("sentry.not_sent", error=repr(fault))
        if client is not None:
            client.close(timeout=CLOSE_SECONDS)


def make_client() -> Any:
    import sentry_sdk

    return sentry_sdk.Client(
        dsn=settings.SENTRY_DSN,
        release=f"{settings.PRODUCT}@{settings.VERSION}",
        environment=settings.SENTRY_ENVIRONMENT,
        server_name=settings.HOST_NAME,
        before_send=lambda event, hint: masked(event),
        default_integrations=False,
        auto_enabling_integrations=False,
        send_default_pii=False,
        include_local_variables=False,
        max_request_body_size="never",
        max_breadcrumbs=0,
        auto_session_tracking=False,
        send_client_reports=False,
    )


def sentry_event(report: SentryReport, process: str, options: dict[str, Any]) -> Any:
    from sentry_sdk.utils import event_from_exception

    event, _ = event_from_exception(report.error, client_options=options)
    event["fingerprint"] = [report.fingerprint]  # so that one row of *Errors* is one issue in Sentry
    event["tags"] = {"process": process, "place": report.place[:200]}
    event["extra"] = {"request_id": report.request_id, "unsent_of_this_kind": report.unsent}
    return event
