"""Reads the annotations of a definition's dataclasses, for everything that is derived from them."""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, StrEnum
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

MISSING: Any = dataclasses.MISSING


class Mark(StrEnum):
    """What a plain type doesn't say."""

    SECONDS = "seconds"
    BYTES = "bytes"
    SECRET = "secret"  # noqa: S105


Seconds = Annotated[float, Mark.SECONDS]
Bytes = Annotated[int, Mark.BYTES]
# {"set": True} stands for the value that is stored already.
SecretText = Annotated[str | dict[str, bool], Mark.SECRET]


@dataclass(frozen=True)
class FieldType:
    """`base` is str, bool, int, float or a value object; `choices` are the texts allowed for a str."""

    base: type
    choices: tuple[str, ...] = ()
    mark: Mark | None = None
    is_list: bool = False
    is_nullable: bool = False

    @classmethod
    def of(cls, annotation: Any) -> FieldType:
        origin, arguments = get_origin(annotation), get_args(annotation)
        if origin in (Union, types.UnionType):
            [inner] = [each for each in arguments if each is not types.NoneType]
            return dataclasses.replace(cls.of(inner), is_nullable=True)
        if origin is list:
            return dataclasses.replace(cls.of(arguments[0]), is_list=True)
        if origin is Annotated:
            inner, mark = arguments
            return cls(str, mark=mark) if mark is Mark.SECRET else dataclasses.replace(cls.of(inner), mark=mark)
        if origin is Literal:
            return cls(str, arguments)
        if issubclass(annotation, Enum):
            return cls(str, tuple(str(member.value) for member in annotation))
        return cls(annotation)


@dataclass(frozen=True)
class FieldInfo:
    """`default` is MISSING for a required field."""

    name: str
    type: FieldType
    default: Any
    metadata: Mapping[str, Any]

    @property
    def is_required(self) -> bool:
        return self.default is MISSING


_fields: dict[type, tuple[FieldInfo, ...]] = {}


def fields_of(described: type) -> tuple[FieldInfo, ...]:
    if described not in _fields:
        hints = get_type_hints(described, include_extras=True)
        _fields[described] = tuple(
            FieldInfo(each.name, FieldType.of(hints[each.name]), _default(each), each.metadata)
            for each in dataclasses.fields(described)
        )
    return _fields[described]


def _default(field: dataclasses.Field[Any]) -> Any:
    return field.default_factory() if callable(field.default_factory) else field.default


def plain(value: Any) -> Any:
    """`value` as JSON has it: dataclasses as objects, enum members as their values."""
    if dataclasses.is_dataclass(value):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, list):
        return [plain(item) for item in value]
    return value.value if isinstance(value, Enum) else value
