"""The form of an alert rule. It and `services.save_rule` use the validators of the model."""

from __future__ import annotations

import json
from typing import Any, ClassVar

from django import forms
from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextareaWidget

from metrics.alerts import services
from metrics.alerts.models import AlertRule, Metric
from metrics.alerts.units import METRIC_SPECS
from programs.forms.fields import MEGABYTE, DurationField, ProgramsField, UnitInput, WordsField
from programs.forms.service_form import ServiceForm
from programs.models import Program

from . import alert_text

# Input units by unit of the metric: the suffix of the field, and its factor.
TYPED = {
    "percent": ("%", 1),
    "bytes": ("MB", MEGABYTE),
    "bytes_per_second": ("MB/s", MEGABYTE),
    "count": ("", 1),
}
LEVEL_FIELDS = ("threshold", "clear_threshold")


def typed_unit(metric: Any) -> tuple[str, int]:
    return TYPED[METRIC_SPECS[metric].unit if metric in METRIC_SPECS else "count"]


class LevelInput(UnitInput):
    """Its suffix follows the selected metric; static/monitor/alert_rule_form.js changes it."""

    def __init__(self) -> None:
        super().__init__(" ", **{"data-level": ""})


class RuleForm(ServiceForm[AlertRule]):
    service_fields = services.FIELDS
    labels = alert_text.LABELS
    help_texts = alert_text.HELP

    metric = forms.ChoiceField(
        choices=Metric.choices,
        widget=UnfoldAdminSelectWidget(
            {"data-units": json.dumps({metric: typed_unit(metric)[0] for metric in METRIC_SPECS})}
        ),
    )
    threshold = forms.FloatField(widget=LevelInput())
    clear_threshold = forms.FloatField(required=False, widget=LevelInput())
    window_seconds = DurationField()
    programs = ProgramsField()
    tags = WordsField()

    class Meta:
        model = AlertRule
        fields = services.FIELDS
        widgets: ClassVar = {"description": UnfoldAdminTextareaWidget({"rows": 2})}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "metric" in self.fields:  # readers get a form without fields
            self._prepare()

    def _prepare(self) -> None:
        if not self.instance.pk:
            self.initial = {**forms.model_to_dict(self.instance, services.FIELDS), **self.initial}
        factor = typed_unit(self.instance.metric)[1]
        for name in LEVEL_FIELDS:
            if isinstance(level := self.initial.get(name), int | float):
                self.initial[name] = _plain(level / factor)
        chosen = self["metric"].value() or Metric.CPU
        for name in LEVEL_FIELDS:
            self.fields[name].widget.attrs["suffix"] = typed_unit(chosen)[0] or " "

    def clean_programs(self) -> list[int]:
        """Keeps removed programs if no other is selected: an empty list would mean all programs."""
        chosen: list[int] = self.cleaned_data["programs"]
        return chosen or self._gone()

    def _gone(self) -> list[int]:
        named = self.instance.programs if self.instance.pk else []
        return sorted(set(named) - set(Program.objects.filter(pk__in=named).values_list("pk", flat=True)))

    def clean(self) -> dict[str, Any]:
        """Converts thresholds to the unit of the metric."""
        cleaned = super().clean()
        factor = typed_unit(cleaned.get("metric"))[1]
        for name in LEVEL_FIELDS:
            if cleaned.get(name) is not None:
                cleaned[name] *= factor
        return cleaned

    def stale_error(self) -> ValidationError:
        return ValidationError(_("This rule was changed meanwhile. Reload the page and try again."))


def _plain(level: float) -> float | int:
    return int(level) if level.is_integer() else level
