"""Labels and help texts of a rule: one sentence each that says what a value does."""

from __future__ import annotations

from typing import Any

from django.utils.translation import gettext_lazy as _

GROUPS: tuple[tuple[Any, tuple[str, ...]], ...] = (
    (_("Rule"), ("name", "description", "enabled", "severity", "seen")),
    (_("When"), ("metric", "condition", "threshold", "clear_threshold", "window_seconds")),
    (_("About"), ("programs", "tags")),
)
LABELS = {
    "name": _("Name"),
    "description": _("Description"),
    "enabled": _("Watch from now on"),
    "severity": _("Severity"),
    "metric": _("Measure"),
    "condition": _("Is"),
    "threshold": _("Threshold"),
    "clear_threshold": _("Over when back at"),
    "window_seconds": _("Over a window of"),
    "programs": _("Programs"),
    "tags": _("Tags"),
}
HELP = {
    "name": _("Stands in messages: web is hot."),
    "description": _("For those who wonder what to do about it."),
    "enabled": _("Otherwise nothing is judged, and alerts that last are ended."),
    "severity": _("Of the alert and its event; endpoints may want to hear of warnings or errors only."),
    "metric": _("Summed over all instances and their process trees."),
    "threshold": _("CPU in percent of one core, memory in MB, reads and writes in MB per second."),
    "clear_threshold": _(
        "In the same unit. A value in between neither fires nor ends an alert. Empty: the threshold."
    ),
    "window_seconds": _(
        "The average over so long (30s, 5m, 1h, at most 1d); of threads and open files the highest. It must be "
        "covered by three quarters before anything fires."
    ),
    "programs": _("Only these. With tags as well: these and those with a tag. Empty: all."),
    "tags": _("Only programs with one of these tags: web, prod."),
}
