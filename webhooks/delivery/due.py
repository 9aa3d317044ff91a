"""Reads what is due at an endpoint."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import NamedTuple

from core import bulk_sql
from programs.models import ProgramEvent
from webhooks.delivery.send_slots import LANES, TABLES, Lane, Waiting

STATEMENT = """
SELECT d.id, d.event_id, e.timestamp, d.attempt_count, d.round_count, d.next_trigger
FROM {delivery} d JOIN {event} e ON e.id = d.event_id
WHERE d.endpoint_id = %s AND d.state = 'pending' AND d.{lane} AND {ready}
ORDER BY d.next_attempt_at, d.id LIMIT %s {lock}
"""
READY = "d.next_attempt_at <= %s"
# A bundle takes along what came after the first of it and has not been tried yet.
READY_FOR_BUNDLE = f"({READY} OR (d.round_count = 0 AND d.lease_until IS NULL AND d.next_attempt_at <= %s))"


class Due(NamedTuple):
    """A row as it was found: `attempts` ever, `tries` since its schedule began."""

    delivery: str
    event: int
    event_at: datetime
    attempts: int
    tries: int
    trigger: str


def due_rows(endpoint: Waiting, lane: str, now: datetime, most: int, *, is_bundle: bool) -> list[Due]:
    """Oldest first. Locked where the database can lock rows; those that others have locked are left out."""
    statement = STATEMENT.format(
        delivery=TABLES["delivery"],
        event=ProgramEvent._meta.db_table,
        lane=LANES[Lane(lane)],
        ready=READY_FOR_BUNDLE if is_bundle else READY,
        lock=bulk_sql.lock_clause("FOR UPDATE OF d SKIP LOCKED"),
    )
    moments = [now, now + timedelta(seconds=endpoint.bundle_seconds)] if is_bundle else [now]
    found = bulk_sql.fetch(statement, [endpoint.pk, *moments, most])
    return [Due(id_, event, bulk_sql.to_datetime(at), *rest) for id_, event, at, *rest in found]
