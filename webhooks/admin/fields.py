"""Form fields for what endpoints hold: conditions, event types, and what is write-only."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.template.loader import render_to_string
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from unfold.widgets import UnfoldAdminTextareaWidget, UnfoldAdminTextInputWidget

from core import secrets
from webhooks.services import SET


class ConditionsField(forms.JSONField):
    """Empty for no condition at all."""

    def __init__(self, **kwargs: Any) -> None:
        widget = UnfoldAdminTextareaWidget({"rows": 3, "spellcheck": "false", "class": "code"})
        super().__init__(required=False, widget=widget, **kwargs)

    def prepare_value(self, value: Any) -> Any:
        if value in ({}, None, ""):
            return ""
        return value if isinstance(value, str) else json.dumps(value, indent=2, ensure_ascii=False)

    def to_python(self, value: Any) -> Any:
        try:
            return {} if value in ("", None) else json.loads(value)
        except ValueError as error:
            raise ValidationError(_("This is no JSON: %(error)s."), params={"error": error}) from error

    def has_changed(self, initial: Any, data: Any) -> bool:
        try:
            return bool((initial or {}) != self.to_python(data))
        except ValidationError:
            return True


# --- Events ---------------------------------------------------------------------------------------------

AREAS: tuple[tuple[str, Any, tuple[str, ...]], ...] = (
    (
        "program",
        gettext_lazy("Programs"),
        (
            *("crashed", "fatal", "backoff", "unhealthy", "healthy", "exited"),
            *("started", "running", "restarted", "adopted", "stopping", "stopped"),
            *("scaled", "input", "created", "updated", "removed"),
        ),
    ),
    ("alert", gettext_lazy("Alerts"), ("firing", "resolved")),
    ("plugin", gettext_lazy("Plugins"), ("failed", "succeeded")),
    ("agent", gettext_lazy("Agents"), ("lost", "started")),
    ("webhook", gettext_lazy("Webhooks"), ("disabled",)),
)
KNOWN = frozenset(
    {"*", *(f"{area}.*" for area, _title, _verbs in AREAS)}
    | {f"{area}.{verb}" for area, _title, verbs in AREAS for verb in verbs}
)


class PatternsWidget(forms.Widget):
    """A box for each known type, grouped, and a line for patterns of one's own."""

    def value_from_datadict(self, data: Any, files: Any, name: str) -> list[str]:
        ticked = data.getlist(name) if hasattr(data, "getlist") else data.get(name, [])
        typed = re.split(r"[,\s]+", data.get(f"{name}-more", ""))
        return list(dict.fromkeys(word for word in (*ticked, *typed) if word))

    def value_omitted_from_data(self, data: Any, files: Any, name: str) -> bool:
        return False  # no box at all is an empty list

    def render(self, name: str, value: Any, attrs: Any = None, renderer: Any = None) -> SafeString:
        chosen = value if isinstance(value, list) else []
        context = {
            "name": name,
            "everything": "*" in chosen,
            "areas": [_area(area, title, verbs, chosen) for area, title, verbs in AREAS],
            "more": " ".join(pattern for pattern in chosen if pattern not in KNOWN),
            "id": (attrs or {}).get("id", ""),
        }
        return render_to_string("admin/webhooks/widgets/patterns.html", context)

    def id_for_label(self, id_: str) -> str:
        return ""


def _area(area: str, title: Any, verbs: Iterable[str], chosen: list[str]) -> dict[str, Any]:
    return {
        "title": title,
        "pattern": f"{area}.*",
        "all": f"{area}.*" in chosen,
        "types": [(f"{area}.{verb}", verb, f"{area}.{verb}" in chosen) for verb in verbs],
    }


class PatternsField(forms.Field):
    widget = PatternsWidget

    def has_changed(self, initial: Any, data: Any) -> bool:
        return set(initial or []) != set(data or [])


# --- Write-only -----------------------------------------------------------------------------------------


def seal(name: str, value: str) -> str:
    return secrets.encrypt(f"{name}\n{value}")


def unseal(name: str, sealed: str) -> str:
    """What `seal` was given for the same field; empty for anything else."""
    try:
        field, _line, value = secrets.decrypt(sealed).partition("\n")
    except secrets.SecretUnreadableError:
        return ""
    return value if field == name else ""


class WriteOnly:
    """For text widgets: what is stored is never sent to the browser, nor is what was just typed.

    Typed values that come back with a mistake elsewhere are carried along encrypted, so that nobody has to type
    them again. `kept` says how what is stored is shown; empty when nothing is. `may_go`: it can be removed.
    """

    kept = ""
    hint = ""
    may_go = False

    def value_from_datadict(self, data: Any, files: Any, name: str) -> Any:
        typed = data.get(name, "").strip() or unseal(name, data.get(f"{name}-sealed", ""))
        if typed or not self.kept or (self.may_go and data.get(f"{name}-remove")):
            return typed
        return SET

    def render(self, name: str, value: Any, attrs: Any = None, renderer: Any = None) -> SafeString:
        typed = value if isinstance(value, str) else ""
        shown = {**(attrs or {}), "placeholder": self._placeholder(typed)}
        parts: SafeString = super().render(name, "", shown, renderer)  # type: ignore[misc]  # of the widget it is mixed into
        if typed:
            parts += format_html('<input type="hidden" name="{}-sealed" value="{}">', name, seal(name, typed))
        if self.kept and self.may_go:
            label = _("Remove what is set")
            box = '<label class="remove-secret"><input type="checkbox" name="{}-remove"> {}</label>'
            parts += format_html(box, name, label)
        return parts

    def _placeholder(self, typed: str) -> str:
        if typed:
            return _("as you typed it; leave empty to keep it")
        return _("set: %(kept)s (leave empty to keep it)") % {"kept": self.kept} if self.kept else self.hint


class WriteOnlyInput(WriteOnly, UnfoldAdminTextInputWidget):
    pass


class WriteOnlyArea(WriteOnly, UnfoldAdminTextareaWidget):
    pass


class WriteOnlyField(forms.CharField):
    def clean(self, value: Any) -> Any:
        return value if value == SET else super().clean(value)

    def has_changed(self, initial: Any, data: Any) -> bool:
        return bool(data != SET and data)
