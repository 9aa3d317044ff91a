"""Form fields of endpoints: conditions, event types, and write-only values."""

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
            raise ValidationError(_("Invalid JSON: %(error)s."), params={"error": error}) from error

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
    """A checkbox for each known type, grouped, and a text field for other patterns."""

    def value_from_datadict(self, data: Any, files: Any, name: str) -> list[str]:
        checked = data.getlist(name) if hasattr(data, "getlist") else data.get(name, [])
        typed = re.split(r"[,\s]+", data.get(f"{name}-more", ""))
        return list(dict.fromkeys(word for word in (*checked, *typed) if word))

    def value_omitted_from_data(self, data: Any, files: Any, name: str) -> bool:
        return False  # browsers omit unchecked boxes: that is an empty list

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
    # With the name of the field: a sealed value must not be moved to a field that is shown.
    return secrets.encrypt(f"{name}\n{value}")


def unseal(name: str, sealed: str) -> str:
    """The value sealed for the same field; empty for anything else."""
    try:
        field, _line, value = secrets.decrypt(sealed).partition("\n")
    except secrets.SecretUnreadableError:
        return ""
    return value if field == name else ""


class WriteOnly:
    """Mixin for text widgets that never send their value to the browser, neither the stored nor a typed one.

    If the form has errors elsewhere, a typed value is carried along encrypted, so nobody has to type it again.
    `stored_text`: how the stored value is shown; empty without one. `is_removable`: it can be removed.
    """

    stored_text = ""
    hint = ""
    is_removable = False

    def value_from_datadict(self, data: Any, files: Any, name: str) -> Any:
        typed = data.get(name, "").strip() or unseal(name, data.get(f"{name}-sealed", ""))
        if typed or not self.stored_text or (self.is_removable and data.get(f"{name}-remove")):
            return typed
        return SET

    def render(self, name: str, value: Any, attrs: Any = None, renderer: Any = None) -> SafeString:
        typed = value if isinstance(value, str) else ""
        widget_attrs = {**(attrs or {}), "placeholder": self._placeholder(typed)}
        parts: SafeString = super().render(name, "", widget_attrs, renderer)  # type: ignore[misc]  # of the widget
        if typed:
            parts += format_html('<input type="hidden" name="{}-sealed" value="{}">', name, seal(name, typed))
        if self.stored_text and self.is_removable:
            label = _("Remove the stored value")
            box = '<label class="remove-secret"><input type="checkbox" name="{}-remove"> {}</label>'
            parts += format_html(box, name, label)
        return parts

    def _placeholder(self, typed: str) -> str:
        if typed:
            return _("kept as entered; leave empty to keep it")
        if self.stored_text:
            return _("set: %(stored)s (leave empty to keep it)") % {"stored": self.stored_text}
        return self.hint


class WriteOnlyInput(WriteOnly, UnfoldAdminTextInputWidget):
    pass


class WriteOnlyArea(WriteOnly, UnfoldAdminTextareaWidget):
    pass


class WriteOnlyField(forms.CharField):
    def clean(self, value: Any) -> Any:
        return value if value == SET else super().clean(value)

    def has_changed(self, initial: Any, data: Any) -> bool:
        return bool(data != SET and data)
