"""The rows of a definition: environment variables, stop steps, probes and dependencies."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from django import forms
from django.core.exceptions import ValidationError
from django.utils.translation import gettext_lazy as _
from unfold.widgets import (
    UnfoldAdminExpandableTextareaWidget,
    UnfoldAdminIntegerFieldWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextInputWidget,
    UnfoldBooleanWidget,
)

from programs.definition.values import SET, Condition, DependencyEntry, EnvironmentEntry, Probe, StopStep

from .fields import UnitInput
from .row_lists import Row


def plain_number(value: float) -> float:
    return int(value) if float(value).is_integer() else value


def _text(**attrs: Any) -> UnfoldAdminTextInputWidget:
    return UnfoldAdminTextInputWidget({"autocomplete": "off", "spellcheck": "false", **attrs})


class ValueWidget(UnfoldAdminExpandableTextareaWidget):
    """Text of any length. With `is_concealed`, an entered secret isn't sent back when the form has errors."""

    is_concealed = False

    def format_value(self, value: Any) -> str | None:
        return "" if self.is_concealed else super().format_value(value)


class EnvironmentRow(Row):
    """A variable. Secret values are never sent to the browser; an empty one keeps the stored value."""

    add_label: ClassVar[Any] = _("Add a variable")

    name = forms.CharField(label=_("Name"), widget=_text(placeholder="NAME"))
    value = forms.CharField(
        label=_("Value"),
        required=False,
        strip=False,
        widget=ValueWidget({"rows": 1, "autocomplete": "off", "spellcheck": "false"}),
    )
    secret = forms.BooleanField(label=_("Secret"), required=False, widget=UnfoldBooleanWidget())
    kept = forms.BooleanField(required=False, widget=forms.HiddenInput())

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        widget = self.fields["value"].widget
        if self["kept"].value() in (True, "True"):
            widget.attrs["placeholder"] = _("set; leave empty to keep it")
        elif self.is_bound and self["secret"].value():
            widget.attrs["placeholder"] = _("enter it again")
        widget.is_concealed = self.is_bound and self["secret"].value()

    @classmethod
    def from_json(cls, entry: Any) -> dict[str, Any]:
        initial = super().from_json(entry)
        return {**initial, "value": "", "kept": True} if initial.get("secret") else initial

    def clean_value(self) -> str:
        return str(self.cleaned_data["value"]).replace("\r\n", "\n")

    def to_json(self) -> dict[str, Any]:
        name, value = self.cleaned_data["name"], self.cleaned_data["value"]
        if not self.cleaned_data["secret"]:
            return {"name": name, "value": value}
        keep = self.cleaned_data["kept"] and not value
        return {"name": name, "value": SET if keep else value, "secret": True}

    def check(self, entry: dict[str, Any]) -> None:
        if self.cleaned_data["kept"] and not entry.get("secret") and not entry["value"]:
            raise ValidationError({"value": _("Enter the value again to store it unencrypted.")})
        if entry.get("secret") and not entry["value"]:
            raise ValidationError({"value": _("A secret needs a value.")})
        EnvironmentEntry.from_json({"name": entry["name"], "value": self.cleaned_data["value"]})


class StopRow(Row):
    """A stop step; the order matters."""

    add_label: ClassVar[Any] = _("Add a step")
    ordered: ClassVar[bool] = True
    KINDS = (
        ("signal", _("Send a signal")),
        ("stdin", _("Send text to its console")),
        ("command", _("Run a command")),
        ("http", _("Send an HTTP request")),
    )

    kind = forms.ChoiceField(label=_("Step"), choices=KINDS, initial="signal", widget=UnfoldAdminSelectWidget())
    argument = forms.CharField(
        label=_("Signal, text, command or URL"), strip=False, widget=_text(placeholder="TERM")
    )
    seconds = forms.FloatField(label=_("Wait up to"), initial=10, widget=UnitInput("s"))

    @classmethod
    def from_json(cls, entry: Any) -> dict[str, Any]:
        initial = super().from_json(entry)
        kind, _colon, argument = str(initial.get("step", "")).partition(":")
        return {"kind": kind, "argument": argument, "seconds": initial.get("seconds")}

    def to_json(self) -> dict[str, Any]:
        given = self.cleaned_data
        return {"step": f"{given['kind']}:{given['argument']}", "seconds": plain_number(given["seconds"])}

    def check(self, entry: dict[str, Any]) -> None:
        StopStep.from_json(entry)


class ProbeRow(Row):
    add_label: ClassVar[Any] = _("Add a probe")
    PURPOSES = (
        ("liveness", _("Liveness: restart it on failure")),
        ("readiness", _("Readiness: dependent programs wait for it")),
    )
    KINDS = (("http", "HTTP"), ("tcp", "TCP"), ("exec", _("Command")), ("log", _("Log line")))

    purpose = forms.ChoiceField(
        label=_("Purpose"),
        choices=PURPOSES,
        initial=Probe.purpose,
        widget=UnfoldAdminSelectWidget(),
    )
    kind = forms.ChoiceField(label=_("Kind"), choices=KINDS, initial="http", widget=UnfoldAdminSelectWidget())
    target = forms.CharField(
        label=_("URL, address, command or text"), widget=_text(placeholder="http://127.0.0.1:8100/")
    )
    period = forms.FloatField(label=_("Every"), initial=Probe.period, widget=UnitInput("s"))
    timeout = forms.FloatField(label=_("Timeout"), initial=Probe.timeout, widget=UnitInput("s"))
    failures = forms.IntegerField(
        label=_("Failures"), initial=Probe.failures, widget=UnfoldAdminIntegerFieldWidget({"min": "1"})
    )

    def to_json(self) -> dict[str, Any]:
        given = self.cleaned_data
        numbers = {key: plain_number(given[key]) for key in ("period", "timeout", "failures")}
        return {"kind": given["kind"], "purpose": given["purpose"], "target": given["target"], **numbers}

    def check(self, entry: dict[str, Any]) -> None:
        Probe.from_json(entry)


class DependencyRow(Row):
    add_label: ClassVar[Any] = _("Add a program")

    program = forms.CharField(label=_("Program"), widget=_text(list="program-names", placeholder=_("name")))
    condition = forms.ChoiceField(
        label=_("must be"),
        choices=Condition.choices,
        initial=DependencyEntry.condition,
        widget=UnfoldAdminSelectWidget(),
    )


def without_secrets(entries: Any) -> list[Any]:
    return [{**e, "value": ""} if isinstance(e, Mapping) and e.get("secret") else e for e in entries]
