"""The groups in the database: added to by every process, resolved by people, forgotten by retention."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from django.conf import settings
from django.db import transaction
from django.db.models import Case, F, Value, When
from django.utils import timezone

from core.access.audit import audit
from core.access.principal import Principal
from core.models import ErrorGroup
from core.retention import register_expiry

from .occurrence import Occurrence


def add(seen: Occurrence) -> None:
    """In the caller's transaction. A group that was resolved before the error came again is open once more."""
    columns = {
        name: getattr(seen, name) for name in ("kind", "culprit", "process", "place", "message", "traceback")
    }
    columns |= {"host": settings.HOST_NAME, "version": settings.VERSION, "last_seen_at": seen.last_at}
    came_again = When(resolved_at__lt=seen.last_at, then=Value(None))
    updated = ErrorGroup.objects.filter(fingerprint=seen.fingerprint).update(
        **columns, count=F("count") + seen.count, resolved_at=Case(came_again, default=F("resolved_at"))
    )
    if not updated:
        _create(seen, columns)


def _create(seen: Occurrence, columns: dict[str, object]) -> None:
    first = {**columns, "count": seen.count, "first_seen_at": seen.first_at}
    _, is_ours = ErrorGroup.objects.get_or_create(fingerprint=seen.fingerprint, defaults=first)
    if not is_ours:  # another process was quicker
        add(seen)


def resolve(groups: Iterable[ErrorGroup], actor: Principal, address: str | None = None) -> int:
    """Marks them as seen, until they come again; how many were open."""
    resolved = 0
    with transaction.atomic():
        for group in groups:
            open_ones = ErrorGroup.objects.filter(pk=group.pk, resolved_at=None)
            if open_ones.update(resolved_at=timezone.now(), resolved_by=actor.actor):
                resolved += 1
                audit(actor, "error.resolve", str(group), address=address, data={"fingerprint": group.fingerprint})
    return resolved


def expire(before: datetime, most: int) -> int:
    oldest = ErrorGroup.objects.filter(last_seen_at__lt=before).order_by("last_seen_at")
    return ErrorGroup.objects.filter(pk__in=list(oldest.values_list("pk", flat=True)[:most])).delete()[0]


register_expiry("grouped errors", "EVENT_DAYS", expire)
