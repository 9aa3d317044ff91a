"""The endpoint form. Like `services.save_endpoint`, it uses the validators of model and format."""

from __future__ import annotations

from typing import Any, ClassVar

from django import forms
from django.core.exceptions import ValidationError
from django.utils.html import format_html
from django.utils.translation import gettext_lazy as _
from unfold.widgets import UnfoldAdminIntegerFieldWidget, UnfoldAdminSelectWidget, UnfoldAdminTextareaWidget

from programs.forms.fields import DurationField, DurationsField, ProgramsField, UnitInput, WordsField
from programs.forms.service_form import ServiceForm
from programs.models import Program
from webhooks import services, transports, validation
from webhooks.models import SUGGESTED_EVENTS, WebhookEndpoint

from . import field_labels
from .fields import ConditionsField, PatternsField
from .target_form import StoredTarget, TargetField, TargetForm

GROUPS: tuple[tuple[Any, tuple[str, ...]], ...] = (
    (_("Destination"), ("name", "format", "target", "enabled", "seen")),
    (_("Events"), ("events", "min_severity", "programs", "tags", "conditions")),
    (
        _("Advanced"),
        (
            *("bundle_seconds", "retry_schedule", "max_age_seconds"),
            *("timeout_seconds", "max_concurrency", "rate_per_second", "verify_tls", "ca_certificates"),
        ),
    ),
)
OWN_FIELDS = (*services.PLAIN_FIELDS, *services.TLS_FIELDS)
CHOOSE = "_choose"  # posted by the button that shows the fields of another format without JavaScript


class EndpointForm(ServiceForm[WebhookEndpoint]):
    service_fields = OWN_FIELDS
    labels = field_labels.LABELS
    help_texts = field_labels.HELP

    format = forms.ChoiceField(widget=UnfoldAdminSelectWidget({"data-format-choice": ""}))
    target = TargetField(required=False)
    events = PatternsField()
    programs = ProgramsField()
    tags = WordsField()
    conditions = ConditionsField()
    retry_schedule = DurationsField(required=False)
    max_age_seconds = DurationField(required=False)

    class Meta:
        model = WebhookEndpoint
        fields = OWN_FIELDS
        widgets: ClassVar = {
            "timeout_seconds": UnitInput("s"),
            "bundle_seconds": UnitInput("s"),
            "rate_per_second": UnitInput("/s"),
            "max_concurrency": UnfoldAdminIntegerFieldWidget({"min": "1", "max": "10"}),
            "ca_certificates": UnfoldAdminTextareaWidget(
                {"rows": 3, "spellcheck": "false", "class": "code", "placeholder": "-----BEGIN CERTIFICATE-----"}
            ),
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "target" in self.fields:  # viewers get a form without fields
            self._prepare()

    def _prepare(self) -> None:
        self.fields["format"].choices = format_choices()  # type: ignore[attr-defined]
        target: Any = self.fields["target"].widget
        target.kind = self.instance.format
        if not self.instance.pk:
            self.initial = {
                **forms.model_to_dict(self.instance, OWN_FIELDS),
                "events": SUGGESTED_EVENTS,
                **self.initial,
            }
        else:
            target.stored = StoredTarget.of(self.instance)
            self.fields.pop("enabled", None)  # enabling has its own page, which asks about pending deliveries
            self._tell_of_the_gone()

    @property
    def is_choosing(self) -> bool:
        return self.is_bound and CHOOSE in self.data

    def full_clean(self) -> None:
        super().full_clean()
        if self.is_choosing:  # the form was not submitted yet
            self._errors = forms.utils.ErrorDict()
            if isinstance(target := self["target"].data, TargetForm):
                target.clear_errors()

    def is_valid(self) -> bool:
        return super().is_valid() and not self.is_choosing

    def _gone(self) -> list[int]:
        named = self.instance.programs if self.instance.pk else []
        return sorted(set(named) - set(Program.objects.filter(pk__in=named).values_list("pk", flat=True)))

    def _tell_of_the_gone(self) -> None:
        if gone := len(self._gone()):
            note = _("%(n)d of its programs were removed. Choose others, or no program events are sent.")
            field = self.fields["programs"]
            field.help_text = format_html('{}<span class="caution">{}</span>', field.help_text, note % {"n": gone})

    def clean_programs(self) -> list[int]:
        # An empty list would mean all programs: keep removed ones until others are chosen.
        chosen: list[int] = self.cleaned_data["programs"]
        return chosen or self._gone()

    def clean_events(self) -> list[str]:
        patterns: list[str] = self.cleaned_data["events"]
        validation.known_events(patterns, self.initial.get("events") or [] if self.instance.pk else [])
        return patterns

    def stale_error(self) -> ValidationError:
        return ValidationError(_("This endpoint was changed in the meantime. Reload the page first."))

    def _post_clean(self) -> None:
        super()._post_clean()  # type: ignore[misc]  # the stubs leave out the hook
        if self.instance.format in transports.kinds():
            try:
                services.check_tls(self.instance)
            except ValidationError as error:
                self.add_errors(error.message_dict)

    def values(self) -> dict[str, Any]:
        return super().values() | self.target_form().values()

    def target_form(self) -> TargetForm:
        """The form of the chosen format; `target` must have no errors."""
        form = self.cleaned_data["target"]
        assert isinstance(form, TargetForm)  # noqa: S101  # the format was checked with it
        return form


def format_choices() -> list[tuple[str, str]]:
    found = [transports.get(kind) for kind in transports.kinds()]
    found.sort(key=lambda transport: (not transport.is_chat, transport.label))
    return [(transport.kind, transport.label) for transport in found]
