"""Rules and alerts as people read them. None of it asks the database."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Protocol

from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from metrics.alerts.models import Alert
from metrics.alerts.units import LEVELS
from programs.admin.events import badge
from programs.descriptions import quantity
from programs.formatting import duration_text
from programs.forms.fields import seconds_text

GROUPS: tuple[tuple[Any, tuple[str, ...]], ...] = (
    (gettext_lazy("Rule"), ("name", "description", "enabled", "severity", "seen")),
    (gettext_lazy("When"), ("metric", "condition", "threshold", "clear_threshold", "window_seconds")),
    (gettext_lazy("About"), ("programs", "tags")),
)
LABELS = {
    "name": gettext_lazy("Name"),
    "description": gettext_lazy("Description"),
    "enabled": gettext_lazy("Watch from now on"),
    "severity": gettext_lazy("Severity"),
    "metric": gettext_lazy("Measure"),
    "condition": gettext_lazy("Is"),
    "threshold": gettext_lazy("Threshold"),
    "clear_threshold": gettext_lazy("Over when back at"),
    "window_seconds": gettext_lazy("Over a window of"),
    "programs": gettext_lazy("Programs"),
    "tags": gettext_lazy("Tags"),
}
HELP = {
    "name": gettext_lazy("Stands in messages: web is hot."),
    "description": gettext_lazy("For those who wonder what to do about it."),
    "enabled": gettext_lazy("Otherwise nothing is judged, and alerts that last are ended."),
    "severity": gettext_lazy("Of the alert and its event; endpoints may want to hear of warnings or errors only."),
    "metric": gettext_lazy("Summed over all instances and their process trees."),
    "threshold": gettext_lazy("CPU in percent of one core, memory in MB, reads and writes in MB per second."),
    "clear_threshold": gettext_lazy(
        "In the same unit. A value in between neither fires nor ends an alert. Empty: the threshold."
    ),
    "window_seconds": gettext_lazy(
        "The average over so long (30s, 5m, 1h, at most 1d); of threads and open files the highest. It must be "
        "covered by three quarters before anything fires."
    ),
    "programs": gettext_lazy("Only these. With tags as well: these and those with a tag. Empty: all."),
    "tags": gettext_lazy("Only programs with one of these tags: web, prod."),
}


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
