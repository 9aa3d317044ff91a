"""From an event to its delivery rows, inside the transaction that writes the event.

What endpoints want is kept in memory, compiled; each transaction asks once whether it is still true, so a start
storm of hundreds of events in one transaction costs no query more for each. An event that is written while an
endpoint changes goes by the endpoint as it was. A removal waits for such events (see `_kept`).
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.db import connection, transaction
from django.db.models import Count, Max, Q, Sum
from django.utils import timezone

from core import bulk_sql
from core.doorbell import ring
from programs import events
from programs.models import ProgramEvent
from webhooks.models import WebhookDelivery, WebhookEndpoint, WebhookMute, message_id

from .matching import Mute, Subject, Target, silenced_by, wants

BELL = "outbox"
State, Trigger = WebhookDelivery.State, WebhookDelivery.Trigger
Version = tuple[int, int, int]
COLUMNS = (
    "id", "endpoint_id", "event_id", "state", "reason", "created_at", "finished_at", "next_attempt_at",
    "next_trigger", "attempt_count", "round_count", "crash_count",
)  # fmt: skip
LATEST_NEWS = timedelta(days=1)  # the agent writes what happened while there was no database, when there is one
PRESENT = f"SELECT id FROM {WebhookEndpoint._meta.db_table} WHERE id IN ({{ids}}) ORDER BY id FOR KEY SHARE"  # noqa: S608
NOTHING: tuple[Version, tuple[Target, ...]] = ((-1, -1, -1), ())

_compiled = NOTHING  # as it was committed, shared by all threads


class _Routes:
    """What one transaction knows of endpoints and mutes.

    It lives among the transaction's on-commit callbacks, so it is gone when the transaction is, however that
    ends; when it commits, the outbox is rung once for everything that was put in.
    """

    def __init__(self, *, is_changed: bool) -> None:
        """`is_changed`: by this transaction itself, so nobody else may believe it yet."""
        self.has_work = False
        self.targets = _compile() if is_changed else _targets()
        self.targets = _kept(self.targets)
        self.mutes = _mutes() if self.targets else ()

    def __call__(self) -> None:
        if self.has_work:
            ring(BELL)


def fan_out(*, event: ProgramEvent, **kwargs: Any) -> None:
    """Receives `event_recorded`: one row for each endpoint that wants the event, none for the others."""
    routes = _routes()
    if not routes.targets:
        return
    about = subject(event)
    found = [_row(target, event, routes.mutes) for target in routes.targets if wants(target, about)]
    if found:
        bulk_sql.insert(WebhookDelivery, COLUMNS, found)
        routes.has_work = True


def forget() -> None:
    """To be called after a change of endpoints or mutes: later events of this transaction must see it."""
    transaction.on_commit(_Routes(is_changed=True))


def _routes() -> _Routes:
    """The newest of this transaction; Django drops those of savepoints that were rolled back."""
    for _, callback, *_ in reversed(connection.run_on_commit):
        if isinstance(callback, _Routes):
            return callback
    routes = _Routes(is_changed=False)
    transaction.on_commit(routes)
    return routes


def subject(event: ProgramEvent) -> Subject:
    tags = frozenset(event.program.tags) if event.program else frozenset()
    return Subject(event.type, events.weight(event), event.program_id, tags, lambda: events.as_json(event))


def _row(target: Target, event: ProgramEvent, mutes: tuple[Mute, ...]) -> tuple[Any, ...]:
    now = timezone.now()
    if mute := silenced_by(mutes, target.id, event.program_id, event.timestamp):
        reason = f"muted: {mute.reason}" if mute.reason else "muted"
        fate: tuple[Any, ...] = (State.CANCELLED, reason, now, now, None)
    else:
        fate = (State.PENDING, "", now, None, now + target.bundle)
    return (message_id(), target.id, event.pk, *fate, Trigger.EVENT, 0, 0, 0)


def _targets() -> tuple[Target, ...]:
    """Enabled endpoints. Every change gives an endpoint a higher revision, and a removal changes the count."""
    global _compiled
    found = WebhookEndpoint.objects.aggregate(count=Count("pk"), keys=Sum("pk"), newest=Max("revision"))
    version = (found["count"], found["keys"] or 0, found["newest"] or 0)
    if _compiled[0] != version:
        _compiled = (version, _compile())
    return _compiled[1]


def _kept(targets: tuple[Target, ...]) -> tuple[Target, ...]:
    """Those that are not being removed. PostgreSQL removes none of them before this transaction has ended.

    FOR KEY SHARE excludes removals alone: neither other events nor changes of the endpoint wait for it.
    """
    if not targets or connection.vendor != "postgresql":
        return targets
    ids = [target.id for target in targets]
    found = {row[0] for row in bulk_sql.fetch(PRESENT.format(ids=bulk_sql.places(ids)), ids)}
    return tuple(target for target in targets if target.id in found)


def _compile() -> tuple[Target, ...]:
    return tuple(map(target_of, WebhookEndpoint.objects.filter(enabled=True).order_by("pk")))


def target_of(endpoint: WebhookEndpoint) -> Target:
    return Target(
        id=endpoint.pk,
        patterns=tuple(endpoint.events),
        programs=frozenset(endpoint.programs),
        tags=frozenset(endpoint.tags),
        min_severity=endpoint.min_severity,
        conditions=endpoint.conditions or None,
        bundle=timedelta(seconds=endpoint.bundle_seconds),
    )


def _mutes() -> tuple[Mute, ...]:
    current = WebhookMute.objects.filter(Q(ends_at=None) | Q(ends_at__gt=timezone.now() - LATEST_NEWS))
    return tuple(map(mute_of, current))


def mute_of(row: WebhookMute) -> Mute:
    return Mute(
        endpoint=row.endpoint_id,
        program=row.program_id,
        starts_at=row.starts_at,
        ends_at=row.ends_at,
        cron=row.cron,
        cron_length=timedelta(seconds=row.cron_seconds),
        reason=row.reason,
    )
