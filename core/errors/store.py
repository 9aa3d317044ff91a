"""Grouped errors in the database: every process adds, users resolve, the retention deletes."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from django.conf import settings
from django.db import transaction
from django.db.models import Case, F, Value, When
from django.utils import timezone

from core.access.audit import audit
from core.access.roles import Principal
from core.models import ErrorGroup
from core.retention import register_expiry

from .occurrence import Occurrence


def add(occurrence: Occurrence) -> None:
    """Call it in a transaction. Reopens a group that was resolved before this error."""
    columns = {
        name: getattr(occurrence, name) for name in ("kind", "culprit", "process", "place", "message", "traceback")
    }
    columns |= {"host": settings.HOST_NAME, "version": settings.VERSION, "last_seen_at": occurrence.last_at}
    occurred_again = When(resolved_at__lt=occurrence.last_at, then=Value(None))
    updated = ErrorGroup.objects.filter(fingerprint=occurrence.fingerprint).update(
        **columns, count=F("count") + occurrence.count, resolved_at=Case(occurred_again, default=F("resolved_at"))
    )
    if not updated:
        _create(occurrence, columns)


def _create(occurrence: Occurrence, columns: dict[str, object]) -> None:
    first = {**columns, "count": occurrence.count, "first_seen_at": occurrence.first_at}
    _, created = ErrorGroup.objects.get_or_create(fingerprint=occurrence.fingerprint, defaults=first)
    if not created:  # another process was faster
        add(occurrence)


def resolve(groups: Iterable[ErrorGroup], actor: Principal, address: str | None = None) -> int:
    """Returns how many were open. A group opens again with its next error."""
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
