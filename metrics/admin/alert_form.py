"""The form of an alert rule. It and `services.save_rule` use the validators of the model."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, ClassVar

from django import forms
from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextareaWidget

from metrics.alerts import services
from metrics.alerts.models import AlertRule, Metric
from metrics.alerts.units import METRIC_SPECS
from programs.forms.fields import MEGABYTE, DurationField, ProgramsField, UnitInput, WordsField
from programs.models import Program

from . import alert_text

if TYPE_CHECKING:
    ModelForm = forms.ModelForm[AlertRule]
else:
    ModelForm = forms.ModelForm

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


class RuleForm(ModelForm):
    """The caller saves `values` and `stored` with the service."""

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
    seen = forms.IntegerField(required=False, widget=forms.HiddenInput)  # the revision that the page showed

    class Meta:
        model = AlertRule
        fields = services.FIELDS
        widgets: ClassVar = {"description": UnfoldAdminTextareaWidget({"rows": 2})}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name, field in self.fields.items():
            field.label = alert_text.LABELS.get(name, field.label)
            field.help_text = alert_text.HELP.get(name, "")
        if "metric" in self.fields:  # readers get a form without fields
            self._prepare()

    def _prepare(self) -> None:
        if not self.instance.pk:
            self.initial = {**forms.model_to_dict(self.instance, services.FIELDS), **self.initial}
        self.initial["seen"] = self.instance.revision
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
        """Converts thresholds to the unit of the metric, and detects concurrent changes."""
        cleaned = super().clean() or self.cleaned_data
        factor = typed_unit(cleaned.get("metric"))[1]
        for name in LEVEL_FIELDS:
            if cleaned.get(name) is not None:
                cleaned[name] *= factor
        if self.instance.pk and cleaned.get("seen") is not None:
            newest = AlertRule.objects.filter(pk=self.instance.pk).values_list("revision", flat=True).first()
            if newest is not None and newest > cleaned["seen"]:
                raise ValidationError(_("This rule was changed meanwhile. Reload the page and try again."))
        return cleaned

    def values(self) -> dict[str, Any]:
        """The values for the service."""
        return {name: self.cleaned_data[name] for name in services.FIELDS if name in self.cleaned_data}

    def stored(self) -> AlertRule | None:
        """The rule as stored: the form has already changed its own instance."""
        return AlertRule.objects.get(pk=self.instance.pk) if self.instance.pk else None


def _plain(level: float) -> float | int:
    return int(level) if level.is_integer() else level
