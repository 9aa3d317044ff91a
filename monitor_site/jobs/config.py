"""The times the guard of the cluster goes by."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from django.conf import settings


@dataclass(frozen=True)
class GuardConfig:
    """Seconds, unless a type says otherwise.

    `stale` must exceed the longest a job may take: while every worker is busy nothing finishes, and nothing is
    wrong. `drain` is how long jobs that run may go on once a stop was asked for; `serve` allows a second more.
    """

    look: float = 1.0
    beat: float = 20.0
    stale: float = 75.0
    drain: float = 4.0
    prune: float = 3600.0
    keep_results: timedelta = timedelta(days=7)
    keep_queued: timedelta = timedelta(days=1)

    @classmethod
    def from_settings(cls) -> GuardConfig:
        return cls(stale=max(60.0, settings.Q_CLUSTER["timeout"] + 15.0))
