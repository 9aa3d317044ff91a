"""Rules and alerts as people read them. None of it asks the database."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Protocol

from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from metrics.alerts.models import Alert
from metrics.alerts.units import LEVELS
from programs.admin.events import badge
from programs.descriptions import quantity
from programs.formatting import duration_text
from programs.forms.fields import seconds_text


class Watching(Protocol):
    """A rule, or an alert, which has the same of its own."""

    metric: Any
    condition: Any
    threshold: Any
    window_seconds: Any

    def get_metric_display(self) -> str: ...

    def get_condition_display(self) -> str: ...


def amount(value: float, metric: str) -> str:
    """With the unit of the metric: `97.5 %`."""
    return quantity(value, LEVELS[metric].unit)


def limit_text(row: Watching) -> str:
    """`above 90 %`."""
    return f"{row.get_condition_display()} {amount(row.threshold, row.metric)}"


def watched_text(row: Watching) -> str:
    """`CPU above 90 % over 5m`."""
    facts = {
        "what": row.get_metric_display(),
        "limit": limit_text(row),
        "window": seconds_text(row.window_seconds),
    }
    return _("%(what)s %(limit)s over %(window)s") % facts


def severity_badge(row: Any) -> SafeString:
    return badge(row.severity, row.get_severity_display())


def state_badge(alert: Alert) -> SafeString:
    if alert.resolved_at is None:
        return badge("error" if alert.severity == "error" else "warning", _("firing"))
    return badge("good", _("over"))


def lasted_text(alert: Alert, now: datetime) -> str:
    return duration_text(((alert.resolved_at or now) - alert.started_at).total_seconds())


def rule_link(alert: Alert) -> SafeString | str:
    """Its name outlives it."""
    return _link("admin:metrics_alertrule_change", alert.rule_id, alert.rule_name)


def program_link(alert: Alert) -> SafeString | str:
    return _link("admin:programs_program_change", alert.program_id, alert.program_name)


def _link(page: str, pk: int | None, name: str) -> SafeString | str:
    return name if pk is None else format_html('<a class="link" href="{}">{}</a>', reverse(page, args=[pk]), name)
