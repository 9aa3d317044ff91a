"""Facts that are kept for EVENT_DAYS: events with their incidents, alerts that are over, and the audit trail."""

from __future__ import annotations

from datetime import datetime

from core.models import AuditEntry
from core.retention import register_expiry
from metrics.models import Alert
from programs.models import ProgramEvent


def events(before: datetime, most: int) -> int:
    """Incidents and deliveries go with their event."""
    oldest = ProgramEvent.objects.filter(timestamp__lt=before).order_by("timestamp", "seq")
    pks = list(oldest.values_list("pk", flat=True)[:most])
    ProgramEvent.objects.filter(pk__in=pks).delete()
    return len(pks)


def alerts(before: datetime, most: int) -> int:
    """One that lasts stays, however old."""
    oldest = Alert.objects.filter(resolved_at__lt=before).order_by("resolved_at")
    pks = list(oldest.values_list("pk", flat=True)[:most])
    Alert.objects.filter(pk__in=pks).delete()
    return len(pks)


def audit_entries(before: datetime, most: int) -> int:
    oldest = AuditEntry.objects.filter(at__lt=before).order_by("at", "pk")
    pks = list(oldest.values_list("pk", flat=True)[:most])
    AuditEntry.objects.filter(pk__in=pks).expire()
    return len(pks)


register_expiry("events", "EVENT_DAYS", events)
register_expiry("alerts", "EVENT_DAYS", alerts)
register_expiry("audit entries", "EVENT_DAYS", audit_entries)
