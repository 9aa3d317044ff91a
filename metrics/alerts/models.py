"""Alert rules and alerts.

Only the agent of a program's host opens, updates and resolves its alerts, so each alert has a single writer. An
alert stores copies of its rule's values, so that it stays readable after rule and program are removed.
"""

from __future__ import annotations

from django.core.validators import MaxLengthValidator
from django.db import models
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from programs.models import Host, Program, ProgramEvent

from . import validation

Severity = ProgramEvent.Severity


class Metric(models.TextChoices):
    """The keys of `measures.PROGRAM_MEASURES`."""

    CPU = "cpu_percent", _("CPU")
    MEMORY = "memory_bytes", _("Memory")
    THREADS = "threads", _("Threads")
    OPEN_FILES = "open_files", _("Open files")
    READ = "read_bytes_per_second", _("Storage reads")
    WRITTEN = "write_bytes_per_second", _("Storage writes")


class Comparison(models.TextChoices):
    ABOVE = "above", _("above")
    BELOW = "below", _("below")


class AlertRule(models.Model):
    """Thresholds are in the unit of the metric: percent of one core, bytes, bytes per second."""

    name = models.CharField(max_length=100, unique=True, validators=[validation.name])
    description = models.TextField(blank=True, validators=[MaxLengthValidator(2000)])
    enabled = models.BooleanField(default=True)
    programs = models.JSONField(default=list, blank=True, validators=[validation.program_ids])
    tags = models.JSONField(default=list, blank=True, validators=[validation.tags])
    metric = models.CharField(max_length=30, choices=Metric.choices)
    condition = models.CharField(max_length=10, choices=Comparison.choices, default=Comparison.ABOVE)
    threshold = models.FloatField(validators=[validation.level])
    clear_threshold = models.FloatField(null=True, blank=True, validators=[validation.level])
    window_seconds = models.PositiveIntegerField(default=300, validators=[validation.window])
    severity = models.CharField(max_length=10, choices=Severity.choices, default=Severity.WARNING)

    revision = models.BigIntegerField(default=0, editable=False)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name

    def clean(self) -> None:
        super().clean()
        validation.rule(self)


class Alert(models.Model):
    """A time in which a rule's condition was met. Firing while `resolved_at` is null."""

    class Reason(models.TextChoices):
        RECOVERED = "recovered", _("recovered")
        STOPPED = "stopped", _("the program stopped")
        RULE_CHANGED = "rule_changed", _("the rule was changed or disabled")
        RULE_REMOVED = "rule_removed", _("the rule was removed")
        PROGRAM_REMOVED = "program_removed", _("the program was removed")

    rule = models.ForeignKey(
        AlertRule, on_delete=models.SET_NULL, null=True, related_name="alerts", db_index=False
    )
    rule_name = models.CharField(max_length=100)
    program = models.ForeignKey(
        Program, on_delete=models.SET_NULL, null=True, related_name="alerts", db_index=False
    )
    program_name = models.CharField(max_length=100)
    host = models.ForeignKey(Host, on_delete=models.CASCADE, related_name="+", db_index=False)
    severity = models.CharField(max_length=10, choices=Severity.choices)

    metric = models.CharField(max_length=30, choices=Metric.choices)
    condition = models.CharField(max_length=10, choices=Comparison.choices)
    threshold = models.FloatField()
    window_seconds = models.PositiveIntegerField()
    value = models.FloatField(help_text=_("When it fired"))
    highest = models.FloatField(help_text=_("While it was firing"))
    lowest = models.FloatField()
    started_at = models.DateTimeField()
    resolved_at = models.DateTimeField(null=True)
    reason = models.CharField(max_length=20, choices=Reason.choices, blank=True)

    class Meta:
        ordering = ["-started_at", "-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["rule", "program"], condition=Q(resolved_at=None), name="one_open_alert"
            )
        ]
        indexes = [
            models.Index(fields=["rule", "-started_at"]),
            models.Index(fields=["program", "-started_at"]),
            models.Index(fields=["-started_at", "-id"]),
            models.Index(fields=["resolved_at"]),
        ]

    def __str__(self) -> str:
        return f"{self.rule_name}: {self.program_name}"
