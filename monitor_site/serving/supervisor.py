"""Keeps child processes running until a stop signal, then stops them one after the other."""

from __future__ import annotations

import json
import logging
import subprocess
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from . import platform
from .children import Child, ChildSpec, describe_exit
from .signals import Signals

log = logging.getLogger(__name__)
READY_CHECK_SECONDS = 0.1
IDLE_SECONDS = 30.0 if platform.CHILD_SIGNALS else 0.5  # without SIGCHLD, exits are found by polling


class ChildSupervisor:
    """Starts `specs` in order and stops them in `stop_order` (names).

    Calls `is_ready` until it returns True, then `on_ready` once. `say` prints a line to the user.
    """

    def __init__(
        self,
        specs: Sequence[ChildSpec],
        *,
        stop_order: Sequence[str],
        is_ready: Callable[[], bool],
        on_ready: Callable[[], None],
        say: Callable[[str], None],
    ) -> None:
        self.children = {spec.name: Child(spec) for spec in specs}
        self.stop_order = [self.children[name] for name in stop_order]
        self._is_ready, self._on_ready, self._say = is_ready, on_ready, say
        self._was_ready = False

    def run(self, signals: Signals) -> None:
        try:
            while not signals.stop_requests:
                signals.wait(self.step(time.monotonic()))
        finally:
            self.stop(signals)

    def step(self, now: float) -> float:
        """Does what is due at `now` and returns the seconds until the next step."""
        for child in self.children.values():
            self._check_child(child, now)
        if platform.adopts_orphans():
            platform.reap_orphans(self._processes())
        if not self._was_ready and self._is_ready():
            self._was_ready = True
            self._on_ready()
        due = [child.start_at - now for child in self.children.values() if child.process is None]
        return min([*due, IDLE_SECONDS if self._was_ready else READY_CHECK_SECONDS])

    def _processes(self) -> dict[int, subprocess.Popen[bytes]]:
        return {child.process.pid: child.process for child in self.children.values() if child.process is not None}

    def _check_child(self, child: Child, now: float) -> None:
        if child.process is None:
            if now >= child.start_at:
                self._start(child, now)
        elif (code := child.process.poll()) is not None:
            child.discard_process()
            self._schedule_restart(child, describe_exit(code), now)

    def _start(self, child: Child, now: float) -> None:
        try:
            child.start(now)
        except OSError as error:  # out of memory or processes, which may be temporary
            self._schedule_restart(child, str(error), now)

    def _schedule_restart(self, child: Child, reason: str, now: float) -> None:
        delay = child.backoff.delay_after_exit(now=now, uptime=now - child.started_at)
        child.start_at = now + delay
        name = child.spec.name
        if child.backoff.is_crash_looping:
            log.error(
                "%s KEEPS EXITING (%s). See its messages above. Next restart in %.0f s.", name, reason, delay
            )
        else:
            log.warning("%s exited unexpectedly (%s). Restarting it in %.1f s.", name, reason, delay)

    # --- Stopping -------------------------------------------------------------------------------------------

    def stop(self, signals: Signals) -> None:
        """Stops the children in order. Each gets its `stop_seconds` and what the ones before it did not use.

        Another stop signal kills all of them.
        """
        self._say(f"Stopping {', '.join(child.spec.name for child in self.stop_order)} …")
        requests_before = signals.stop_requests
        deadline = time.monotonic() + sum(child.spec.stop_seconds for child in self.stop_order)
        for position, child in enumerate(self.stop_order):
            reserved = sum(later.spec.stop_seconds for later in self.stop_order[position + 1 :])
            child.request_stop()
            self._wait_for_exit(child, signals, deadline - reserved, requests_before)
        self._say("Stopped.")

    def _wait_for_exit(self, child: Child, signals: Signals, deadline: float, requests_before: int) -> None:
        while child.is_running:
            remaining = deadline - time.monotonic()
            if remaining <= 0 or signals.stop_requests > requests_before:
                log.warning("%s did not stop in time and was killed.", child.spec.name)
                child.kill()
                break
            signals.wait(min(remaining, IDLE_SECONDS))
        child.discard_process()


# --- Logs -----------------------------------------------------------------------------------------------


class LineFormatter(logging.Formatter):
    """Formats lines like the other processes, without structlog and Django's apps, which take 15 MB."""

    def __init__(self, log_format: str) -> None:
        super().__init__()
        self._is_json = log_format == "json"

    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created, UTC).isoformat().replace("+00:00", "Z")
        level, event = record.levelname.lower(), record.getMessage()
        if not self._is_json:
            return f"{at} [{level}] {event} [{record.name}] process=serve"
        fields = {"event": event, "logger": record.name, "level": level, "process": "serve", "timestamp": at}
        return json.dumps(fields, ensure_ascii=False)


def configure_logging(log_format: str) -> None:
    handler = logging.StreamHandler()
    handler.setFormatter(LineFormatter(log_format))
    logging.getLogger("monitor_site.serving").handlers = [handler]
    logging.getLogger("monitor_site.serving").propagate = False
