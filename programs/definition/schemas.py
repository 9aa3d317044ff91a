"""The API's schemas of a definition, made from `fields` and `values`. Loads pydantic: for the API alone."""

from __future__ import annotations

from typing import Any, Literal

from ninja import Field, Schema
from pydantic import create_model

from core.rest.inputs import Input, Number, StrictBool, Text, Whole
from programs.schemas import InstancesOut, KeptValue

from .fields import Definition
from .types import FieldInfo, FieldType, Mark, fields_of, plain
from .values import Record

# JSON is taken at its word in requests: "5" isn't a number and 1 isn't true.
IN: dict[type, Any] = {str: Text, bool: StrictBool, int: Whole, float: Number}


def _in(kind: FieldType) -> Any:
    if kind.mark is Mark.SECRET:
        return Text | KeptValue
    if kind.choices:
        return Literal[kind.choices]
    return input_schema(kind.base) if issubclass(kind.base, Record) else IN[kind.base]


def _out(kind: FieldType) -> Any:
    return dict[str, Any] if issubclass(kind.base, Record) else kind.base


def _wrapped(inner: Any, kind: FieldType) -> Any:
    inner = list[inner] if kind.is_list else inner
    return inner | None if kind.is_nullable else inner


def _described(field: FieldInfo, default: Any) -> Any:
    help_text = field.metadata.get("help")
    # Defaults are plain JSON; validated, they become the schemas that the answer is made of.
    return Field(default, validate_default=True, description=str(help_text) if help_text else None)


def input_schema(described: type) -> type[Input]:
    """A request body with the fields of a dataclass; unknown fields are refused."""
    name = f"{described.__name__}In"
    found: dict[str, Any] = {
        field.name: (
            _wrapped(_in(field.type), field.type),
            _described(field, ... if field.is_required else plain(field.default)),
        )
        for field in fields_of(described)
    }
    return create_model(name, __base__=Input, __module__=__name__, **found)


def _output_schema(described: type) -> type[Schema]:
    found: dict[str, Any] = {
        field.name: (_wrapped(_out(field.type), field.type), _described(field, ...))
        for field in fields_of(described)
    }
    return create_model(f"{described.__name__}Fields", __base__=Schema, __module__=__name__, **found)


class DefinitionIn(input_schema(Definition)):  # type: ignore[misc]  # made at run time
    """A whole definition: what is left out has its default."""


class ChangesIn(DefinitionIn):
    """Some fields of a definition."""

    name: Text = ""
    command: Text = ""


class DefinitionOut(_output_schema(Definition)):  # type: ignore[misc]  # made at run time
    """The definition, and the current state of the program."""

    id: int
    state: str
    desired_state: str
    health: str | None
    instances: InstancesOut
    revision: int
    created_at: str


class PreviewOut(DefinitionOut):
    """A program that was only validated, not created."""

    id: None  # type: ignore[assignment]  # narrower in meaning, not in type


class ChangedOut(DefinitionOut):
    applies: dict[str, Literal["live", "restart"]]
