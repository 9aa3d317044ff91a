"""The revision of settled history: the cache key of queries about the past.

Recent history changes every few seconds and is not cached. History older than SETTLED_SECONDS changes only when an
agent writes late (after a database outage) or rows are imported; both advance a counter in the same transaction,
which invalidates the cached queries. Retention need not: a query for deleted rows reads a coarser tier, which is
another cache key.
"""

from __future__ import annotations

from django.db import connection

from core import replica
from core.models import Sequence

SETTLED_SECONDS = 120
CHANGE_COUNTER = "history.past"
CLOCK_PREFIX = "history.clock."  # + host id: when its agent last wrote, by its own clock


def invalidate_history() -> None:
    """Invalidates cached queries about the past. Call it inside `atomic()`."""
    Sequence.advance(CHANGE_COUNTER)


class WriterClock:
    """Records the time of every write of one agent; invalidates the cache if it changes settled history."""

    def __init__(self, host_id: int) -> None:
        self._name = f"{CLOCK_PREFIX}{host_id}"
        self._newest_write = 0  # 0 until the first write, which may follow an outage

    def record_write(self, oldest: int, now: float) -> int:
        """Call it in the transaction that writes rows from `oldest` on; pass its result to `committed` later."""
        if not self._newest_write or oldest < self._newest_write - SETTLED_SECONDS:
            invalidate_history()
        newest = max(self._newest_write, int(now))
        table = connection.ops.quote_name(Sequence._meta.db_table)
        sql = (
            f"INSERT INTO {table} (name, value) VALUES (%s, %s) "  # noqa: S608  (a name)
            "ON CONFLICT (name) DO UPDATE SET value = excluded.value"
        )
        with connection.cursor() as cursor:
            cursor.execute(sql, [self._name, newest])
        return newest

    def committed(self, newest: int) -> None:
        self._newest_write = newest


def settled_revision(end: int) -> int | None:
    """The revision if every host has settled history up to `end`, else None. One query."""
    # From the database that answers: a replica that lags must not be taken for settled.
    known = Sequence.objects.using(replica.connection_to_read().alias).filter(name__startswith="history.")
    rows = dict(known.values_list("name", "value"))
    clocks = [value for name, value in rows.items() if name.startswith(CLOCK_PREFIX)]
    if not clocks or end > min(clocks) - SETTLED_SECONDS:
        return None
    return rows.get(CHANGE_COUNTER, 0)
