"""Up to when history is settled, and a number that tells whether the settled part was changed after all.

Points are written every few seconds, so an answer that reaches to the present is old at once. What lies minutes
back stays as it is, unless an agent had to wait for the database or something was imported: each of these advances
one counter, in its own transaction. Answers about the settled part are kept by that counter. (Retention changes
none: whoever asks for what it took is answered from a coarser tier, and that is another key.)
"""

from __future__ import annotations

from django.db import connection

from core import replica
from core.models import Sequence

SETTLED_SECONDS = 120
PAST = "history.past"
CLOCK = "history.clock."  # and the host's id: when its agent last wrote, by its own clock


def invalidate_history() -> None:
    """Call it inside `atomic()`."""
    Sequence.advance(PAST)


class WriterClock:
    """Of one agent: notes in each transaction with points when that was, and whether it reached into the past."""

    def __init__(self, host_id: int) -> None:
        self._name = f"{CLOCK}{host_id}"
        self._newest = 0  # nought until the first transaction, which cannot know what came before

    def note(self, oldest: int, now: float) -> int:
        """Writes timestamps from `oldest` on, at `now`. Give what it returns to `noted` once that is committed."""
        if not self._newest or oldest < self._newest - SETTLED_SECONDS:
            invalidate_history()
        newest = max(self._newest, int(now))
        table = connection.ops.quote_name(Sequence._meta.db_table)
        sql = (
            f"INSERT INTO {table} (name, value) VALUES (%s, %s) "  # noqa: S608  (a name)
            "ON CONFLICT (name) DO UPDATE SET value = excluded.value"
        )
        with connection.cursor() as cursor:
            cursor.execute(sql, [self._name, newest])
        return newest

    def noted(self, newest: int) -> None:
        self._newest = newest


def settled_revision(end: int) -> int | None:
    """The counter, when all up to `end` is settled on every host; None otherwise. One query."""
    # From the database that answers: a replica that lags must not be taken for settled.
    known = Sequence.objects.using(replica.connection_to_read().alias).filter(name__startswith="history.")
    rows = dict(known.values_list("name", "value"))
    clocks = [value for name, value in rows.items() if name.startswith(CLOCK)]
    if not clocks or end > min(clocks) - SETTLED_SECONDS:
        return None
    return rows.get(PAST, 0)
