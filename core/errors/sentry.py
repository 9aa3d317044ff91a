"""Errors for Sentry as well, when SENTRY_DSN is set: without values, masked, and few of each kind.

The SDK costs 13 MB and half a second, so it is loaded with the first error, in the thread that sends. None of its
integrations is used: they would send requests, local variables, the environment and every line of the log.
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

from .occurrence import sighted

log = structlog.get_logger(__name__)
MOST_WAITING = 20
EVERY_SECONDS = 60.0  # for errors of the same kind
MOST_KINDS = 200
CLOSE_SECONDS = 2.0


@dataclass(frozen=True)
class Report:
    error: BaseException
    place: str
    fingerprint: str
    request_id: str
    unsent: int  # of the same kind, since the last that was sent


class Relay:
    """`note` waits for nothing and never raises. Does nothing until `open`."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self.process = ""
        self.begin_anew()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self.begin_anew)

    def begin_anew(self) -> None:
        """Also after a fork: neither threads nor connections go along."""
        self._lock = threading.RLock()
        self._reports: queue.Queue[Report | None] = queue.Queue(MOST_WAITING)
        self._sent_at: dict[str, float] = {}
        self._unsent: dict[str, int] = {}
        self._thread: threading.Thread | None = None

    def open(self, process: str) -> None:
        self.process = process

    def note(self, error: BaseException, place: str = "") -> None:
        if not (self.process and settings.SENTRY_DSN):
            return
        try:
            report = self._due(error, place)
            if report is not None:
                self._put(report)
        except Exception as fault:  # told without its traceback: with it, this would be called again
            log.warning("sentry.not_noted", error=repr(fault))

    def _due(self, error: BaseException, place: str) -> Report | None:
        """None when one of its kind was sent lately."""
        kind, now = sighted(error, self.process, place, datetime.now(UTC)).fingerprint, self._clock()
        with self._lock:
            if now - self._sent_at.get(kind, -EVERY_SECONDS) < EVERY_SECONDS:
                self._unsent[kind] = self._unsent.get(kind, 0) + 1
                return None
            if len(self._sent_at) >= MOST_KINDS:
                self._sent_at.clear()
                self._unsent.clear()
            self._sent_at[kind] = now
            unsent = self._unsent.pop(kind, 0)
        return Report(error, place, kind, str(get_contextvars().get("request_id", "")), unsent)

    def _put(self, report: Report) -> None:
        try:
            self._reports.put_nowait(report)
        except queue.Full:
            log.warning("sentry.dropped", hint="more kinds of error at once than can be sent")
        with self._lock:
            if self._thread is None:
                Finalize(None, self.close, exitpriority=0)
                self._thread = threading.Thread(target=self._run, name="sentry", daemon=True)
                self._thread.start()

    def close(self, seconds: float = CLOSE_SECONDS) -> None:
        """Sends what waits, for up to `seconds`."""
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
                client.capture_event(event_of(report, self.process, client.options))
            except Exception as fault:
                log.warning("sentry.not_sent", error=repr(fault))
        if client is not None:
            client.close(timeout=CLOSE_SECONDS)


def make_client() -> Any:
    """Everything that the SDK would find out by itself is off."""
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


def event_of(report: Report, process: str, options: dict[str, Any]) -> Any:
    """As grouped here, so that one row of *Errors* is one issue there."""
    from sentry_sdk.utils import event_from_exception

    event, _ = event_from_exception(report.error, client_options=options)
    event["fingerprint"] = [report.fingerprint]
    event["tags"] = {"process": process, "place": report.place[:200]}
    event["extra"] = {"request_id": report.request_id, "unsent_of_this_kind": report.unsent}
    return event
