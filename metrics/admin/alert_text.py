"""Labels and texts of rules and alerts. Nothing here queries the database."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Protocol

from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from metrics.alerts.models import Alert
from metrics.alerts.units import METRIC_SPECS
from programs.admin.events import badge
from programs.descriptions import quantity
from programs.formatting import duration_text
from programs.forms.fields import seconds_text

FIELDSETS: tuple[tuple[Any, tuple[str, ...]], ...] = (
    (gettext_lazy("Rule"), ("name", "description", "enabled", "severity", "seen")),
    (gettext_lazy("Condition"), ("metric", "condition", "threshold", "clear_threshold", "window_seconds")),
    (gettext_lazy("Applies to"), ("programs", "tags")),
)
LABELS = {
    "name": gettext_lazy("Name"),
    "description": gettext_lazy("Description"),
    "enabled": gettext_lazy("Enabled"),
    "severity": gettext_lazy("Severity"),
    "metric": gettext_lazy("Metric"),
    "condition": gettext_lazy("Comparison"),
    "threshold": gettext_lazy("Threshold"),
    "clear_threshold": gettext_lazy("Resolves at"),
    "window_seconds": gettext_lazy("Window"),
    "programs": gettext_lazy("Programs"),
    "tags": gettext_lazy("Tags"),
}
HELP = {
    "name": gettext_lazy('Shown in notifications, e.g. "web is hot".'),
    "description": gettext_lazy("What to do when this fires."),
    "enabled": gettext_lazy("A disabled rule is not evaluated, and its firing alerts are resolved."),
    "severity": gettext_lazy("Severity of the alert and its event. Webhooks can select events by severity."),
    "metric": gettext_lazy("Total of all instances and their process trees."),
    "threshold": gettext_lazy("CPU in percent of one core, memory in MB, storage reads and writes in MB/s."),
    "clear_threshold": gettext_lazy(
        "Same unit as the threshold. Between the two, an alert neither fires nor resolves. Default: the threshold."
    ),
    "window_seconds": gettext_lazy(
        "The average over this time (30s, 5m, 1h, at most 1d); for threads and open files the maximum. Needs data "
        "for at least 75 % of the window."
    ),
    "programs": gettext_lazy(
        "Only these programs, plus those with one of the tags. Leave both empty for all programs."
    ),
    "tags": gettext_lazy("Programs with one of these tags, e.g. web, prod."),
}


class HasCondition(Protocol):
    """A rule, or an alert with its copy of the condition."""

    metric: Any
    condition: Any
    threshold: Any
    window_seconds: Any

    def get_metric_display(self) -> str: ...

    def get_condition_display(self) -> str: ...


def amount(value: float, metric: str) -> str:
    return quantity(value, METRIC_SPECS[metric].unit)


def limit_text(row: HasCondition) -> str:
    return f"{row.get_condition_display()} {amount(row.threshold, row.metric)}"


def watched_text(row: HasCondition) -> str:
    """Such as `CPU above 90 % over 5m`."""
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
    return badge("good", _("resolved"))


def lasted_text(alert: Alert, now: datetime) -> str:
    return duration_text(((alert.resolved_at or now) - alert.started_at).total_seconds())


def rule_link(alert: Alert) -> SafeString | str:
    # The name stays readable after the rule was removed.
    return _link("admin:metrics_alertrule_change", alert.rule_id, alert.rule_name)


def program_link(alert: Alert) -> SafeString | str:
    return _link("admin:programs_program_change", alert.program_id, alert.program_name)


def _link(page: str, pk: int | None, name: str) -> SafeString | str:
    return name if pk is None else format_html('<a class="link" href="{}">{}</a>', reverse(page, args=[pk]), name)
