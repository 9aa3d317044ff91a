"""The form of a program: every field of the definition, validated by the service that saves it."""

from __future__ import annotations

from typing import Any, ClassVar

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
from programs.definition.fields import FIELDS, HELP, INFO, PLAIN_FIELDS, defaults, marked
from programs.definition.types import Mark
from programs.models import Host, Program, ProgramRevision
from programs.warnings import definition_warnings

from .field_labels import LABELS
from .fields import MegabytesField, NumbersField, UnitInput, WordsField
from .row_lists import RowsField
from .row_types import DependencyRow, EnvironmentRow, ProbeRow, StopRow, plain_number, without_secrets
from .service_form import ServiceForm

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
        _("Delays between restarts"),
        ("backoff_initial", "backoff_factor", "backoff_max", "backoff_jitter", "stable_seconds"),
    ),
    (_("Instances and dependencies"), ("instances_min", "instances_max", "scale_cpu_percent", "depends_on")),
    (_("Probes"), ("probes",)),
    (_("Logs"), ("log_max_bytes", "log_backups", "log_compress")),
    (_("Advanced"), ("umask", "nice", "max_open_files")),
)
CONSTRAINT_FIELDS = {"program_name_unique": "name", "program_instances_ordered": "instances_max"}


class ProgramForm(ServiceForm[Program]):
    service_fields = FIELDS
    labels = LABELS
    help_texts = HELP

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
        empty_label=_("Default host"),
        widget=UnfoldAdminSelectWidget(),
    )

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
        shown = definition_json(self.instance) if self.instance.pk else _new_program(kwargs.get("initial") or {})
        self.initial.update({name: plain_number(v) if isinstance(v, float) else v for name, v in shown.items()})
        if self.instance.pk and not self.is_bound:
            self._show_warnings()

    def _show_warnings(self) -> None:
        for name, notes in definition_warnings(self.instance).items():
            added = format_html_join("", '<span class="caution">{}</span>', ((note,) for note in notes))
            if field := self.fields.get(name):  # viewers get a form without fields
                field.help_text = format_html("{}{}", field.help_text, added)

    def newest_version(self) -> int | None:
        newest = self._newest()
        return newest.number if newest else None

    shown_version = newest_version

    def stale_error(self) -> ValidationError:
        newest = self._newest()
        text = _("%(actor)s has changed this program meanwhile (version %(number)s). Reload the page first.")
        params = {"actor": newest.actor, "number": newest.number} if newest else {}
        return ValidationError(text, params=params)

    def _newest(self) -> ProgramRevision | None:
        return self.instance.revisions.first() if self.instance.pk else None

    def values(self) -> dict[str, Any]:
        given = super().values()
        if "host" in given:
            given["host"] = given["host"].name if given["host"] else None
        # An empty text field: the column of such a field is null, not "".
        empty = {name: None for name, value in given.items() if value == "" and INFO[name].type.is_nullable}
        return given | empty

    def _post_clean(self) -> None:
        # Instead of Django's own checks, so that the form accepts what the API and the commands accept.
        try:
            services.save_definition(self.values(), actor="", program=self.stored(), dry_run=True)
        except ValidationError as error:
            self.add_errors(_by_field(error))


def _new_program(given: dict[str, Any]) -> dict[str, Any]:
    required = {name: "" for name, info in INFO.items() if info.is_required}
    return {**required, **defaults(), **given, "environment": without_secrets(given.get("environment", []))}


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
