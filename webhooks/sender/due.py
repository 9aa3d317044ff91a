"""Reads what is due at an endpoint. In SQL: a sender asks thousands of times a minute, and Django would take
nine tenths of the time to put the same statement together again."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from django.db import connection

from programs.models import ProgramEvent
from webhooks.agenda import LANES_SQL, Lane
from webhooks.models import WebhookDelivery, WebhookEndpoint

TABLES = {"delivery": WebhookDelivery._meta.db_table, "event": ProgramEvent._meta.db_table}
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


def due_rows(endpoint: WebhookEndpoint, lane: str, now: datetime, most: int, *, is_bundle: bool) -> list[Due]:
    """Oldest first. Locked where the database can lock rows; those that others have locked are left out."""
    has_locks = connection.features.has_select_for_update_skip_locked
    statement = STATEMENT.format(
        **TABLES,
        lane=LANES_SQL[Lane(lane)],
        ready=READY_FOR_BUNDLE if is_bundle else READY,
        lock="FOR UPDATE OF d SKIP LOCKED" if has_locks else "",
    )
    moments = [now, now + timedelta(seconds=endpoint.bundle_seconds)] if is_bundle else [now]
    stored = map(connection.ops.adapt_datetimefield_value, moments)
    with connection.cursor() as cursor:
        cursor.execute(statement, [endpoint.pk, *stored, most])
        found = cursor.fetchall()
    return [
        Due(id_, event, _aware(at), attempts, tries, trigger) for id_, event, at, attempts, tries, trigger in found
    ]


def _aware(moment: datetime) -> datetime:
    """SQLite gives moments back in UTC and without saying so."""
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
