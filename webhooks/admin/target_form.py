"""Where an endpoint posts to: its address and what its format needs besides, made from the format's schema.

All formats are on the page, and all but the chosen one are switched off, so the choice needs no new page where
there is a script, and a press of a button where there is none. A new format needs no change here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.template.loader import render_to_string
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _
from unfold.widgets import (
    UnfoldAdminIntegerFieldWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextareaWidget,
    UnfoldAdminTextInputWidget,
    UnfoldBooleanWidget,
)

from core.http import Policy, RefusedError
from core.secrets import MASK, SecretUnreadableError
from webhooks import transports
from webhooks.models import WebhookEndpoint
from webhooks.placeholders import TemplateError
from webhooks.services import SET
from webhooks.transports.base import SettingsError

from .fields import WriteOnlyArea, WriteOnlyField, WriteOnlyInput

Schema = Mapping[str, Any]
URL = "url"
PLAIN = {"autocomplete": "off", "spellcheck": "false"}
CORRECT = _("Please correct the marked fields.")
FILL_IN = _("Fill in what this format needs.")


@dataclass(frozen=True)
class Stored:
    """What an endpoint has by now, for the form of its own format. Never shown as it is."""

    kind: str = ""
    url: str = field(default="", repr=False)
    settings: dict[str, Any] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, endpoint: WebhookEndpoint) -> Stored:
        """Nothing, when the keys that it was encrypted with are gone: it can only be set anew."""
        try:
            return cls(endpoint.format, endpoint.url, endpoint.settings)
        except SecretUnreadableError:
            return cls()


class TargetForm(forms.Form):
    """The fields of one format. `values` is what the service takes, `clear` what the format works with."""

    def __init__(self, kind: str, stored: Stored, data: Any = None) -> None:
        super().__init__(data, prefix=kind, use_required_attribute=False)
        self.transport = transports.get(kind)
        self.stored = stored if stored.kind == kind else Stored()
        self.fields[URL] = _url_field(self)
        schema = self.transport.schema()
        example: Schema = next(iter(schema.get("examples", [])), {})
        for name, shape in schema.get("properties", {}).items():
            required = name in schema.get("required", [])
            made = _field(shape, required, hint=str(example.get(name, "")))
            if name in self.stored.settings:
                _show_stored(made, self.stored.settings[name])
            self.fields[name] = made

    def forgive(self) -> None:
        """Takes back what was found wrong."""
        self._errors = forms.utils.ErrorDict()

    @property
    def kind(self) -> str:
        return self.transport.kind

    def values(self) -> dict[str, Any]:
        """`{"url", "settings"}`; `{"set": true}` stands for what is kept."""
        return {"url": self.cleaned_data[URL], "settings": self._settings()}

    def _settings(self) -> dict[str, Any]:
        return {name: value for name, value in self.cleaned_data.items() if name != URL and value is not None}

    def clear(self) -> tuple[str, dict[str, Any]]:
        """URL and settings with what is kept put in."""
        given, kept = self._settings(), self.stored.settings
        url = self.cleaned_data.get(URL)
        settings = {name: kept.get(name, "") if value == SET else value for name, value in given.items()}
        return (self.stored.url if url == SET else url or ""), settings

    def clean(self) -> dict[str, Any]:
        """Asks the format itself; what it finds is told at the field it is about."""
        if MASK in str(self.cleaned_data.get(URL)):
            self._tell(URL, [_("This address is blanked out; write it in full.")])
        if not self.errors:
            url, settings = self.clear()
            try:
                self.transport.check(url, settings, Policy.from_settings())
            except SettingsError as error:
                for name, texts in error.errors.items():
                    self._tell(name, texts)
            except TemplateError as error:
                self._tell(error.field, [str(error)])
            except RefusedError as error:
                self._tell(URL, [str(error)])
        return self.cleaned_data

    def _tell(self, name: str, texts: list[Any]) -> None:
        self.add_error(name if name in self.fields else None, texts)


def _url_field(form: TargetForm) -> forms.Field:
    widget = WriteOnlyInput({**PLAIN, "inputmode": "url"})
    widget.hint = form.transport.url_hint
    widget.kept = form.transport.masked(form.stored.url) if form.stored.url else ""
    return WriteOnlyField(label=_("Address"), help_text=form.transport.url_help, widget=widget)


def _show_stored(made: forms.Field, value: Any) -> None:
    if isinstance(made.widget, WriteOnlyArea):
        made.widget.kept = MASK if value else ""
    else:
        made.initial = value


# --- From the schema of a setting to a field ------------------------------------------------------------


def _secret(shape: Schema, required: bool, hint: str) -> forms.Field:
    widget = WriteOnlyArea({**PLAIN, "rows": 2, "class": "code"})
    widget.hint, widget.may_go = hint, not required
    return WriteOnlyField(widget=widget, max_length=shape.get("maxLength"))


def _choice(shape: Schema, required: bool, hint: str) -> forms.Field:
    choices = [(each, each) for each in shape["enum"]]
    return forms.ChoiceField(choices=choices, widget=UnfoldAdminSelectWidget())


def _switch(shape: Schema, required: bool, hint: str) -> forms.Field:
    return forms.BooleanField(widget=UnfoldBooleanWidget())


def _whole(shape: Schema, required: bool, hint: str) -> forms.Field:
    widget = UnfoldAdminIntegerFieldWidget({"placeholder": hint})
    return forms.IntegerField(min_value=shape.get("minimum"), max_value=shape.get("maximum"), widget=widget)


def _number(shape: Schema, required: bool, hint: str) -> forms.Field:
    widget = UnfoldAdminTextInputWidget({"placeholder": hint})
    return forms.FloatField(min_value=shape.get("minimum"), max_value=shape.get("maximum"), widget=widget)


def _area(shape: Schema, required: bool, hint: str) -> forms.Field:
    widget = UnfoldAdminTextareaWidget({**PLAIN, "rows": 4, "class": "code", "placeholder": hint})
    return forms.CharField(widget=widget, max_length=shape.get("maxLength"))


def _line(shape: Schema, required: bool, hint: str) -> forms.Field:
    widget = UnfoldAdminTextInputWidget({**PLAIN, "placeholder": hint})
    return forms.CharField(widget=widget, max_length=shape.get("maxLength"))


Build = Callable[[Schema, bool, str], forms.Field]
# The first that fits.
BUILDERS: tuple[tuple[Callable[[Schema], bool], Build], ...] = (
    (lambda shape: bool(shape.get("writeOnly")), _secret),
    (lambda shape: "enum" in shape, _choice),
    (lambda shape: shape.get("type") == "boolean", _switch),
    (lambda shape: shape.get("type") == "integer", _whole),
    (lambda shape: shape.get("type") == "number", _number),
    (lambda shape: shape.get("format") == "textarea", _area),
    (lambda shape: True, _line),
)


def _field(shape: Schema, required: bool, *, hint: str) -> forms.Field:
    build = next(build for fits, build in BUILDERS if fits(shape))
    made = build(shape, required, hint)
    made.required, made.widget.is_required = required, required
    made.label, made.help_text = shape.get("title"), shape.get("description", "")
    made.initial = shape.get("default")
    return made


# --- All of it as one field of the endpoint's form ------------------------------------------------------


class TargetWidget(forms.Widget):
    """`stored` and `kind`, the format that a fresh page shows, are set by the form that it belongs to."""

    stored = Stored()
    kind = ""
    _made: tuple[Any, TargetForm | None] = (None, None)

    def value_from_datadict(self, data: Any, files: Any, name: str) -> TargetForm | None:
        """The same form each time it is asked for: judging one can take a second."""
        if self._made[0] is not data:
            self._made = (data, self._form(data))
        return self._made[1]

    def _form(self, data: Any) -> TargetForm | None:
        """Without data when none of its fields were on the page: their format was chosen only now."""
        kind = data.get("format", "")
        if kind not in transports.kinds():
            return None
        was_there = any(field.startswith(f"{kind}-") for field in data)
        return TargetForm(kind, self.stored, data if was_there else None)

    def value_omitted_from_data(self, data: Any, files: Any, name: str) -> bool:
        return False

    def render(self, name: str, value: Any, attrs: Any = None, renderer: Any = None) -> SafeString:
        given = value if isinstance(value, TargetForm) else None
        chosen = given.kind if given else self.kind
        shown = [
            given if given and given.kind == kind else TargetForm(kind, self.stored) for kind in transports.kinds()
        ]
        context = {"forms": shown, "chosen": chosen, "id": (attrs or {}).get("id", "")}
        return render_to_string("admin/webhooks/widgets/target.html", context)

    def id_for_label(self, id_: str) -> str:
        return ""


class TargetField(forms.Field):
    widget = TargetWidget

    def clean(self, value: Any) -> TargetForm | None:
        """The valid form. Raises ValidationError; the fields themselves show the details."""
        if isinstance(value, TargetForm) and not value.is_valid():
            raise ValidationError(CORRECT if value.is_bound else FILL_IN)
        return value if isinstance(value, TargetForm) else None

    def has_changed(self, initial: Any, data: Any) -> bool:
        return isinstance(data, TargetForm) and data.has_changed()
