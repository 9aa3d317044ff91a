"""URL and settings of an endpoint: form fields generated from the schema of its format.

The page contains the fields of all formats, with all but the chosen one disabled. A script switches between them;
a button does so without JavaScript. A new format needs no change here.
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
FILL_IN = _("Fill in the fields of this format.")


@dataclass(frozen=True)
class StoredTarget:
    """The stored values, for the form of the endpoint's own format. Never shown unmasked."""

    kind: str = ""
    url: str = field(default="", repr=False)
    settings: dict[str, Any] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, endpoint: WebhookEndpoint) -> StoredTarget:
        try:
            return cls(endpoint.format, endpoint.url, endpoint.settings)
        except SecretUnreadableError:  # the keys are lost: it has to be entered again
            return cls()


class TargetForm(forms.Form):
    """The fields of one format. `values` is for the service, `resolved` for the format itself."""

    def __init__(self, kind: str, stored: StoredTarget, data: Any = None) -> None:
        # No `required` attributes: those of hidden formats would block the submit button.
        super().__init__(data, prefix=kind, use_required_attribute=False)
        self.transport = transports.get(kind)
        self.stored = stored if stored.kind == kind else StoredTarget()
        self.fields[URL] = _url_field(self)
        schema = self.transport.schema()
        example: Schema = next(iter(schema.get("examples", [])), {})
        for name, shape in schema.get("properties", {}).items():
            required = name in schema.get("required", [])
            made = _field(shape, required, hint=str(example.get(name, "")))
            if name in self.stored.settings:
                _show_stored(made, self.stored.settings[name])
            self.fields[name] = made

    def clear_errors(self) -> None:
        self._errors = forms.utils.ErrorDict()

    @property
    def kind(self) -> str:
        return self.transport.kind

    def values(self) -> dict[str, Any]:
        """`{"url", "settings"}`, with `{"set": true}` for values to keep."""
        return {"url": self.cleaned_data[URL], "settings": self._settings()}

    def _settings(self) -> dict[str, Any]:
        return {name: value for name, value in self.cleaned_data.items() if name != URL and value is not None}

    def resolved(self) -> tuple[str, dict[str, Any]]:
        given, kept = self._settings(), self.stored.settings
        url = self.cleaned_data.get(URL)
        settings = {name: kept.get(name, "") if value == SET else value for name, value in given.items()}
        return (self.stored.url if url == SET else url or ""), settings

    def clean(self) -> dict[str, Any]:
        if MASK in str(self.cleaned_data.get(URL)):
            self._add_errors(URL, [_("This URL is masked. Enter the full URL.")])
        if not self.errors:
            url, settings = self.resolved()
            try:
                self.transport.check(url, settings, Policy.from_settings())
            except SettingsError as error:
                for name, texts in error.errors.items():
                    self._add_errors(name, texts)
            except TemplateError as error:
                self._add_errors(error.field, [str(error)])
            except RefusedError as error:
                self._add_errors(URL, [str(error)])
        return self.cleaned_data

    def _add_errors(self, name: str, texts: list[Any]) -> None:
        self.add_error(name if name in self.fields else None, texts)


def _url_field(form: TargetForm) -> forms.Field:
    widget = WriteOnlyInput({**PLAIN, "inputmode": "url"})
    widget.hint = form.transport.url_hint
    widget.stored_text = form.transport.masked(form.stored.url) if form.stored.url else ""
    # Write-only: the URL may contain a token.
    return WriteOnlyField(label=_("URL"), help_text=form.transport.url_help, widget=widget)


def _show_stored(made: forms.Field, value: Any) -> None:
    if isinstance(made.widget, WriteOnlyArea):
        made.widget.stored_text = MASK if value else ""
    else:
        made.initial = value


# --- Fields from the schema -----------------------------------------------------------------------------


def _secret(shape: Schema, required: bool, hint: str) -> forms.Field:
    widget = WriteOnlyArea({**PLAIN, "rows": 2, "class": "code"})
    widget.hint, widget.is_removable = hint, not required
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
# The first match counts.
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


# --- As one field of the endpoint's form ----------------------------------------------------------------


class TargetWidget(forms.Widget):
    """The endpoint's form sets `stored`, and `kind`: the format shown first."""

    stored = StoredTarget()
    kind = ""
    _made: tuple[Any, TargetForm | None] = (None, None)

    def value_from_datadict(self, data: Any, files: Any, name: str) -> TargetForm | None:
        # Cached: validating can take a second, and Django calls this several times.
        if self._made[0] is not data:
            self._made = (data, self._form(data))
        return self._made[1]

    def _form(self, data: Any) -> TargetForm | None:
        kind = data.get("format", "")
        if kind not in transports.kinds():
            return None
        # None of its fields were submitted: the format was chosen only now.
        was_there = any(field.startswith(f"{kind}-") for field in data)
        return TargetForm(kind, self.stored, data if was_there else None)

    def value_omitted_from_data(self, data: Any, files: Any, name: str) -> bool:
        return False

    def render(self, name: str, value: Any, attrs: Any = None, renderer: Any = None) -> SafeString:
        given = value if isinstance(value, TargetForm) else None
        chosen = given.kind if given else self.kind
        all_forms = [
            given if given and given.kind == kind else TargetForm(kind, self.stored) for kind in transports.kinds()
        ]
        context = {"forms": all_forms, "chosen": chosen, "id": (attrs or {}).get("id", "")}
        return render_to_string("admin/webhooks/widgets/target.html", context)

    def id_for_label(self, id_: str) -> str:
        return ""


class TargetField(forms.Field):
    widget = TargetWidget

    def clean(self, value: Any) -> TargetForm | None:
        # The fields themselves show the details.
        if isinstance(value, TargetForm) and not value.is_valid():
            raise ValidationError(CORRECT if value.is_bound else FILL_IN)
        return value if isinstance(value, TargetForm) else None

    def has_changed(self, initial: Any, data: Any) -> bool:
        return isinstance(data, TargetForm) and data.has_changed()
