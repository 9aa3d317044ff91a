"""What is derived from `definition.fields` knows every field and default. A new field fails here until it does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from django.db import models

from programs.cli.field_options import POSITIONAL, field_options
from programs.definition.fields import FIELDS, HELP, INFO, PLAIN_FIELDS, defaults
from programs.definition.schemas import ChangesIn, DefinitionIn, DefinitionOut, input_schema
from programs.definition.types import fields_of, plain
from programs.definition.values import DependencyEntry, EnvironmentEntry, Probe, Record, StopStep
from programs.formats import native
from programs.forms import GROUPS, ProgramForm
from programs.forms.field_labels import LABELS
from programs.forms.row_types import DependencyRow, EnvironmentRow, ProbeRow, StopRow
from programs.models import Program

# Columns that are not part of the definition.
OWN_COLUMNS = {
    "id",
    "replaced_secrets",
    "desired_state",
    "desired_instances",
    "revision",
    "created_at",
    "removed_at",
}


def column(name: str) -> Any:
    return Program._meta.get_field(name)


def test_the_model_has_a_column_for_every_field_and_no_other() -> None:
    columns = {field.name for field in Program._meta.concrete_fields}
    assert columns - OWN_COLUMNS == set(FIELDS) - {"depends_on"}


@pytest.mark.parametrize("name", PLAIN_FIELDS)
def test_a_column_has_the_default_of_its_field(name: str) -> None:
    if INFO[name].is_required:
        assert column(name).default is models.NOT_PROVIDED
    else:
        assert getattr(Program(), name) == defaults()[name]


@pytest.mark.parametrize("name", sorted({*PLAIN_FIELDS, "host"}))
def test_a_column_is_nullable_when_its_field_is(name: str) -> None:
    assert column(name).null == INFO[name].type.is_nullable
    assert tuple((column(name).choices and dict(column(name).choices)) or ()) == INFO[name].type.choices


@pytest.mark.parametrize("schema", [DefinitionIn, ChangesIn])
def test_the_api_takes_every_field_with_its_default(schema: Any) -> None:
    assert schema.model_fields.keys() == set(FIELDS)
    shown = schema(name="web", command="x").model_dump()
    assert shown == {**defaults(), "name": "web", "command": "x"}


def test_the_api_shows_every_field() -> None:
    assert list(DefinitionOut.model_fields)[: len(FIELDS)] == list(FIELDS)


def test_the_form_has_every_field_in_one_group_with_label_and_help_text() -> None:
    grouped = [name for _title, names in GROUPS for name in names if name != "seen"]
    assert sorted(grouped) == sorted(FIELDS) == sorted(LABELS)
    form = ProgramForm()
    assert form.fields.keys() - {"seen"} == set(FIELDS)
    for name in FIELDS:
        assert (form.fields[name].label, form.fields[name].help_text) == (LABELS[name], HELP[name])


@pytest.mark.django_db
def test_a_new_form_shows_the_defaults() -> None:
    initial = ProgramForm().initial
    assert {name: initial[name] for name in defaults()} == defaults()


def test_the_command_has_an_option_for_every_field_with_its_help_text() -> None:
    options = {option.field: option for option in field_options()}
    assert options.keys() | set(POSITIONAL) == set(FIELDS)
    for name, option in options.items():
        assert option.help.startswith(str(HELP[name]))


def test_yaml_knows_every_field() -> None:
    assert native.FIELDS.keys() == set(FIELDS)
    assert native.write([{**defaults(), "name": "web", "command": "x"}]).endswith("- name: web\n  command: x\n")


def test_the_guide_names_every_field() -> None:
    guide = (Path(__file__).resolve().parents[2] / "docs/programs.md").read_text(encoding="utf-8")
    assert [name for name in FIELDS if f"`{name}`" not in guide] == []


@pytest.mark.parametrize(
    ("record", "row", "other_names"),
    [
        (EnvironmentEntry, EnvironmentRow, {"kept": ""}),
        (StopStep, StopRow, {"kind": "step", "argument": "step"}),
        (DependencyEntry, DependencyRow, {}),
        (Probe, ProbeRow, {}),
    ],
)
def test_a_row_of_the_form_has_the_fields_of_its_record(
    record: type[Record], row: Any, other_names: dict[str, str]
) -> None:
    fields = {field.name: field for field in fields_of(record)}
    shown = row.base_fields
    assert {other_names.get(name, name) for name in shown} - {""} == fields.keys()
    for name in fields.keys() & shown.keys():
        if not fields[name].is_required and fields[name].type.base is not bool:
            assert shown[name].initial == plain(fields[name].default)
        if fields[name].type.choices:
            assert sorted(dict(shown[name].choices)) == sorted(fields[name].type.choices)


@pytest.mark.parametrize("record", [EnvironmentEntry, StopStep, DependencyEntry, Probe])
def test_a_record_of_the_api_has_the_fields_of_its_class(record: type[Record]) -> None:
    schema = input_schema(record)
    assert list(schema.model_fields) == [field.name for field in fields_of(record)]
