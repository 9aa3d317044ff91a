"""What the API, the admin and commands read: each in a number of queries that does not grow with the rows."""

from __future__ import annotations

from django.db.models import Count, OuterRef, Q, QuerySet, Subquery
from django.db.models.functions import Coalesce

from .models import Alert, AlertRule, Severity

IS_OPEN = {"firing": True, "resolved": False}


def rules(*, search: str = "", enabled: bool | None = None, metric: str = "") -> QuerySet[AlertRule]:
    """By name, each with the number of its open alerts as `firing`."""
    # Counted by the index of open alerts: those that are over may be many thousands.
    open_ = Alert.objects.filter(rule=OuterRef("pk"), resolved_at=None).order_by().values("rule")
    counted = Coalesce(Subquery(open_.annotate(number=Count("pk")).values("number")), 0)
    found = AlertRule.objects.annotate(firing=counted).order_by("name")
    if search:
        found = found.filter(Q(name__icontains=search) | Q(description__icontains=search))
    if metric:
        found = found.filter(metric=metric)
    return found if enabled is None else found.filter(enabled=enabled)


def alerts(state: str = "") -> QuerySet[Alert]:
    """Newest first. `state`: firing, resolved, or both when empty."""
    found = Alert.objects.order_by("-started_at", "-id")
    return found.filter(resolved_at__isnull=IS_OPEN[state]) if state else found


def firing_of(program_id: int) -> QuerySet[Alert]:
    return alerts("firing").filter(program=program_id)


def firing_by_severity() -> dict[str, int]:
    """How many alerts are open, also of severities of which none is. One query."""
    counted = Alert.objects.filter(resolved_at=None).order_by().values_list("severity").annotate(Count("pk"))
    return {**dict.fromkeys(Severity.values, 0), **dict(counted)}
