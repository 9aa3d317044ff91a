"""When an endpoint that fails is left alone, and when it is switched off. Pure.

After five connections in a row that came to nothing, one delivery a minute is tried; the others wait without using
up their tries. After five days without success the endpoint is switched off, unless there was little to fail.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

OPENS_AFTER = 5
PROBE_EVERY = timedelta(seconds=60)
GIVE_UP_AFTER = timedelta(days=5)
FEWEST_FAILED = 10
SPREAD_OVER = timedelta(hours=12)


@dataclass(frozen=True)
class Health:
    """`failed_messages` counts the deliveries whose first try failed since the last success."""

    connect_failures: int = 0
    paused_until: datetime | None = None
    failing_since: datetime | None = None
    failed_messages: int = 0
    last_success_at: datetime | None = None

    @property
    def is_open(self) -> bool:
        return self.connect_failures >= OPENS_AFTER

    def succeeded(self, now: datetime) -> Health:
        return Health(paused_until=self.paused_until if not self.is_open else None, last_success_at=now)

    def answered(self) -> Health:
        """Any answer proves the connection."""
        return (
            replace(self, connect_failures=0, paused_until=None)
            if self.is_open
            else replace(self, connect_failures=0)
        )

    def failed(self, now: datetime, *, is_first_try: bool) -> Health:
        return replace(
            self, failing_since=self.failing_since or now, failed_messages=self.failed_messages + is_first_try
        )

    def not_reached(self, now: datetime) -> Health:
        failures = self.connect_failures + 1
        paused = now + PROBE_EVERY if failures >= OPENS_AFTER else self.paused_until
        return replace(self, connect_failures=failures, paused_until=paused)

    def throttled(self, until: datetime) -> Health:
        return replace(self, paused_until=max(until, self.paused_until or until))

    def is_hopeless(self, now: datetime, enabled_at: datetime) -> bool:
        return (
            now - max(self.last_success_at or enabled_at, enabled_at) >= GIVE_UP_AFTER
            and self.failed_messages >= FEWEST_FAILED
            and self.failing_since is not None
            and now - self.failing_since >= SPREAD_OVER
        )
