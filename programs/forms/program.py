"""ProgramForm: every field of a definition, in groups, judged by the very service that saves it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from django import forms
from django.core.exceptions import NON_FIELD_ERRORS, ValidationError
from django.utils.html import format_html, format_html_join
from django.utils.translation import gettext_lazy as _
from unfold.widgets import (
    UnfoldAdminExpandableTextareaWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextInputWidget,
)

from programs import services
from programs.definition.conversion import definition_json
from programs.definition.fields import FIELDS, HELP, PLAIN_FIELDS, marked
from programs.definition.types import Mark
from programs.models import Host, Program, ProgramRevision
from programs.warnings import cautions

from .field_labels import LABELS
from .fields import MegabytesField, NumbersField, UnitInput, WordsField
from .row_lists import RowsField
from .row_types import DependencyRow, EnvironmentRow, ProbeRow, StopRow, plain_number, without_secrets

if TYPE_CHECKING:
    ModelForm = forms.ModelForm[Program]
else:
    ModelForm = forms.ModelForm

GROUPS: tuple[tuple[Any, tuple[str, ...]], ...] = (
    (
        _("Program"),
        ("name", "command", "shell", "working_directory", "environment", "description", "tags", "host", "seen"),
    ),
    (_("Starting"), ("autostart", "start_seconds", "stdin", "user")),
    (
        _("Restarting"),
        (
            *("restart_policy", "success_exit_codes", "max_restarts", "restart_window"),
            *("restart_cron", "max_memory_bytes"),
        ),
    ),
    (_("Stopping"), ("stop_ladder",)),
    (
        _("Pauses between restarts"),
        ("backoff_initial", "backoff_factor", "backoff_max", "backoff_jitter", "stable_seconds"),
    ),
    (_("Instances and dependencies"), ("instances_min", "instances_max", "scale_cpu_percent", "depends_on")),
    (_("Probes"), ("probes",)),
    (_("Logs"), ("log_max_bytes", "log_backups", "log_compress")),
    (_("Advanced"), ("umask", "nice", "max_open_files")),
)
CONSTRAINT_FIELDS = {"program_name_unique": "name", "program_instances_ordered": "instances_max"}


class ProgramForm(ModelForm):
    """Errors of the service land on the fields they are about; saving is the caller's, through the service."""

    tags = WordsField()
    success_exit_codes = NumbersField()
    environment = RowsField(EnvironmentRow, label=LABELS["environment"])
    stop_ladder = RowsField(StopRow, label=LABELS["stop_ladder"])
    probes = RowsField(ProbeRow, label=LABELS["probes"])
    depends_on = RowsField(DependencyRow, label=LABELS["depends_on"])
    host = forms.ModelChoiceField(
        Host.objects.order_by("name"),
        to_field_name="name",
        required=False,
        empty_label=_("The default host"),
        widget=UnfoldAdminSelectWidget(),
    )

    seen = forms.IntegerField(required=False, widget=forms.HiddenInput)  # the version that was on the page

    class Meta:
        model = Program
        fields = PLAIN_FIELDS
        field_classes: ClassVar = dict.fromkeys(marked(Mark.BYTES), MegabytesField)
        widgets: ClassVar = {
            "command": UnfoldAdminExpandableTextareaWidget({"rows": 1, "spellcheck": "false", "class": "code"}),
            "description": UnfoldAdminExpandableTextareaWidget({"rows": 1}),
            "working_directory": UnfoldAdminTextInputWidget({"placeholder": "/srv/game", "spellcheck": "false"}),
            "restart_cron": UnfoldAdminTextInputWidget({"placeholder": "0 4 * * *", "spellcheck": "false"}),
            "umask": UnfoldAdminTextInputWidget({"placeholder": "022"}),
            **{name: UnitInput("s") for name in marked(Mark.SECONDS)},
            **{name: UnitInput("MB") for name in marked(Mark.BYTES)},
            "scale_cpu_percent": UnitInput("%"),
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        shown = definition_json(self.instance) if self.instance.pk else _beginning(kwargs.get("initial") or {})
        self.initial = {name: plain_number(v) if isinstance(v, float) else v for name, v in shown.items()}
        self.initial["seen"] = newest.number if (newest := self._newest()) else None
        for name, field in self.fields.items():
            field.label = LABELS.get(name, field.label)
            field.help_text = HELP.get(name, "")
        if self.instance.pk and not self.is_bound:
            self._show_cautions()

    def _show_cautions(self) -> None:
        for name, notes in cautions(self.instance).items():
            said = format_html_join("", '<span class="caution">{}</span>', ((note,) for note in notes))
            if field := self.fields.get(name):  # readers get a form without fields
                field.help_text = format_html("{}{}", field.help_text, said)

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        newest = self._newest()
        if newest and cleaned.get("seen") is not None and newest.number > cleaned["seen"]:
            text = _("%(actor)s has changed this program meanwhile (version %(number)s). Reload the page first.")
            raise ValidationError(text, params={"actor": newest.actor, "number": newest.number})
        return cleaned

    def _newest(self) -> ProgramRevision | None:
        return self.instance.revisions.first() if self.instance.pk else None

    def values(self) -> dict[str, Any]:
        """What was given, as the service takes it; fields at fault are left out."""
        given = {name: self.cleaned_data[name] for name in FIELDS if name in self.cleaned_data}
        if "host" in given:
            given["host"] = given["host"].name if given["host"] else None
        return given | {name: given[name] or None for name in ("umask",) if name in given}

    def stored(self) -> Program | None:
        """The program as the database knows it, for the service to compare with."""
        return Program.objects.select_related("host").get(pk=self.instance.pk) if self.instance.pk else None

    def _post_clean(self) -> None:
        """Asks the service, so that the form and every other way in agree about what is valid."""
        try:
            services.save_definition(self.values(), actor="", program=self.stored(), dry_run=True)
        except ValidationError as error:
            for field, messages in _by_field(error).items():
                if field not in self.errors:
                    self.add_error(field if field in self.fields else None, messages)


def _beginning(given: dict[str, Any]) -> dict[str, Any]:
    """What the form of a new program shows: defaults, and what a copy brings along."""
    blank = Program()
    plain = {field: getattr(blank, field) for field in PLAIN_FIELDS}
    variables = without_secrets(given.get("environment", []))
    return {**plain, "host": None, "depends_on": [], **given, "environment": variables}


def _by_field(error: ValidationError) -> dict[str, list[str]]:
    """The messages by field name; those of the table's constraints moved to the field that broke them."""
    places = {
        str(constraint.violation_error_message): CONSTRAINT_FIELDS[constraint.name]
        for constraint in Program._meta.constraints
        if constraint.name in CONSTRAINT_FIELDS
    }
    found: dict[str, list[str]] = {}
    for field, messages in error.message_dict.items():
        for message in messages:
            place = places.get(message, field) if field == NON_FIELD_ERRORS else field
            found.setdefault(place, []).append(message)
    return found
