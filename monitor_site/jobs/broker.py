"""django-q2's database queue with a wake-up signal: an idle cluster starts a job within milliseconds.

By polling alone, a job waits a quarter of a second on average. Polling remains, because a signal may get lost.
"""

from __future__ import annotations

from typing import Any

from django.utils import timezone
from django_q.brokers.orm import ORM
from django_q.conf import Conf

from core.doorbell import BlockingListener, ring_on_commit

LISTENER = "jobs"


class DoorbellBroker(ORM):
    """Rings when a job is queued; waits for a ring instead of sleeping while the queue is empty."""

    # Created by the process that fetches jobs: of several listeners of a name only the last one is woken.
    _listener: BlockingListener | None = None

    def enqueue(self, task: str) -> Any:
        database: Any = super()
        row = database.enqueue(task)
        ring_on_commit(LISTENER)
        return row

    def dequeue(self) -> list[tuple[int, str]] | None:
        """The jobs that are due; None after a ring or `poll` seconds without any."""
        database: Any = super()
        waiting = self.get_connection().filter(key=self.list_key, lock__lt=timezone.now())
        if waiting.exists():
            found: list[tuple[int, str]] | None = database.dequeue()
            return found
        self._listener = self._listener or BlockingListener(LISTENER)
        self._listener.wait(Conf.POLL)
        return None
