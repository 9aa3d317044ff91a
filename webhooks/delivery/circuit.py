"""Circuit breaker of an endpoint, and when an endpoint that keeps failing is disabled. Pure.

After five failed connections in a row the circuit opens: one delivery a minute is sent as a probe, and the others
wait without using up their attempts. After five days without a success the endpoint is disabled, unless only a few
deliveries failed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

FAILURE_THRESHOLD = 5
PROBE_INTERVAL = timedelta(seconds=60)
DISABLE_AFTER = timedelta(days=5)
MIN_FAILED_MESSAGES = 10
MIN_FAILING_TIME = timedelta(hours=12)


@dataclass(frozen=True)
class CircuitState:
    """`failed_messages`: deliveries since the last success whose first attempt failed."""

    connect_failures: int = 0
    paused_until: datetime | None = None
    failing_since: datetime | None = None
    failed_messages: int = 0
    last_success_at: datetime | None = None

    @property
    def is_open(self) -> bool:
        return self.connect_failures >= FAILURE_THRESHOLD

    def succeeded(self, now: datetime) -> CircuitState:
        # A pause that the receiver asked for (Retry-After) outlasts the success of a request sent before it.
        return CircuitState(paused_until=self.paused_until if not self.is_open else None, last_success_at=now)

    def responded(self) -> CircuitState:
        """Any response closes the circuit, even an error: the connection works."""
        return (
            replace(self, connect_failures=0, paused_until=None)
            if self.is_open
            else replace(self, connect_failures=0)
        )

    def failed(self, now: datetime, *, is_first_attempt: bool) -> CircuitState:
        return replace(
            self,
            failing_since=self.failing_since or now,
            failed_messages=self.failed_messages + is_first_attempt,
        )

    def connect_failed(self, now: datetime) -> CircuitState:
        failures = self.connect_failures + 1
        paused = now + PROBE_INTERVAL if failures >= FAILURE_THRESHOLD else self.paused_until
        return replace(self, connect_failures=failures, paused_until=paused)

    def throttled(self, until: datetime) -> CircuitState:
        return replace(self, paused_until=max(until, self.paused_until or until))

    def should_disable(self, now: datetime, enabled_at: datetime) -> bool:
        return (
            now - max(self.last_success_at or enabled_at, enabled_at) >= DISABLE_AFTER
            and self.failed_messages >= MIN_FAILED_MESSAGES
            and self.failing_since is not None
            # A receiver that restarts can fail ten deliveries within a minute.
            and now - self.failing_since >= MIN_FAILING_TIME
        )
