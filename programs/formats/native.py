"""The YAML format of the monitor: `programs`, a list of definitions with the fields of the API.

Values are converted by the type of the field, not by the rules of YAML: `umask: 022` and `value: on` stay texts.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from programs.definition.fields import INFO
from programs.definition.types import FieldType, Mark, fields_of
from programs.definition.values import SET, Record

from .draft import FormatError, Imported, Note, Source, compact, gathered
from .yaml_nodes import compose, line, pairs

HEADER = "# Programs of the monitor. Secret values are not exported; set them again after an import.\n"
DUMPER: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
BOOLEANS = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
NULLS = ("null", "Null", "NULL", "~", "")

Converter = Callable[[Node], Any]


class _InvalidValueError(Exception):
    """Invalid value of a field. `_read_one` turns it into a FormatError with the file name."""

    def __init__(self, node: Node, message: str) -> None:
        super().__init__(message)
        self.line = line(node)


def _text(node: Node) -> str:
    if not isinstance(node, ScalarNode):
        raise _InvalidValueError(node, "expected a text")
    return str(node.value)


def _boolean(node: Node) -> bool:
    if _text(node) not in BOOLEANS:
        raise _InvalidValueError(node, f"{_text(node)[:80]!r} is neither true nor false")
    return BOOLEANS[_text(node)]


def _whole(node: Node) -> int:
    if not re.fullmatch(r"[+-]?[0-9][0-9_]{0,18}", _text(node)):
        raise _InvalidValueError(node, f"{_text(node)[:80]!r} is not a whole number")
    return int(_text(node))


def _number(node: Node) -> float:
    if not re.fullmatch(r"[+-]?[0-9]{1,15}(\.[0-9]{1,15})?(e[+-]?[0-9]{1,2})?", _text(node), re.IGNORECASE):
        raise _InvalidValueError(node, f"{_text(node)[:80]!r} is not a number")
    number = float(_text(node))
    return int(number) if number.is_integer() else number


def _or_null(convert: Converter) -> Converter:
    def converted(node: Node) -> Any:
        is_null = isinstance(node, ScalarNode) and not node.style and node.value in NULLS
        return None if is_null else convert(node)

    return converted


def _list_of(convert: Converter) -> Converter:
    def converted(node: Node) -> list[Any]:
        if not isinstance(node, SequenceNode):
            raise _InvalidValueError(node, "expected a list")
        return [convert(item) for item in node.value]

    return converted


def _fields(node: Node, fields: Mapping[str, Converter], required: Sequence[str], what: str) -> dict[str, Any]:
    if not isinstance(node, MappingNode):
        raise _InvalidValueError(node, f"{what} must be a mapping, with {', '.join(required)}")
    found = {}
    for key, value in pairs(node, Source("")).items():
        if key not in fields:
            raise _InvalidValueError(value, f"{what} has no field {key[:80]!r}")
        found[key] = fields[key](value)
    if missing := [key for key in required if key not in found]:
        raise _InvalidValueError(node, f"{what} is missing {', '.join(missing)}")
    return found


def _value(node: Node) -> Any:
    if not isinstance(node, MappingNode):
        return _text(node)
    if _fields(node, {"set": _boolean}, ["set"], "a value") != SET:
        raise _InvalidValueError(node, "a value must be a text, or {set: true} for an existing secret")
    return dict(SET)


CONVERTERS: dict[type, Converter] = {str: _text, bool: _boolean, int: _whole, float: _number}


def _record(described: type) -> Converter:
    fields = fields_of(described)
    converters = {field.name: _converter(field.type) for field in fields}
    required = [field.name for field in fields if field.is_required]
    return lambda node: _fields(node, converters, required, "an entry")


def _converter(kind: FieldType) -> Converter:
    if kind.mark is Mark.SECRET:
        return _value
    convert = _record(kind.base) if issubclass(kind.base, Record) else CONVERTERS[kind.base]
    convert = _list_of(convert) if kind.is_list else convert
    return _or_null(convert) if kind.is_nullable else convert


FIELDS = {name: _converter(field.type) for name, field in INFO.items()}
REQUIRED = tuple(name for name, field in INFO.items() if field.is_required)


def read(sources: Sequence[Source]) -> Imported:
    return gathered(_read_one(source) for source in sources)


def _read_one(source: Source) -> Imported:
    try:
        return _imported(source)
    except _InvalidValueError as error:
        raise source.error(str(error), error.line) from error
    except FormatError as error:
        raise source.error(error.message, error.line) from error


def _imported(source: Source) -> Imported:
    top = compose(source)
    if not isinstance(top, MappingNode):
        raise source.error('the file must contain "programs:" with a list')
    keys = pairs(top, source)
    for key, node in keys.items():
        if key != "programs" and not key.startswith("x-"):  # x-… holds anchors, as in compose files
            raise source.error(f"unknown key {key[:80]!r}; only programs is allowed", line(node))
    if not isinstance(keys.get("programs"), SequenceNode):
        raise source.error('the file must contain "programs:" with a list', line(top))
    imported = Imported()
    for node in keys["programs"].value:
        imported.definitions.append(_definition(node))
        imported.notes += _kept_secrets(imported.definitions[-1])
    return imported


def _definition(node: Node) -> dict[str, Any]:
    return compact(_fields(node, FIELDS, REQUIRED, "a program"))


def _kept_secrets(definition: Mapping[str, Any]) -> list[Note]:
    return [
        Note(definition["name"], f"variable {entry.get('name')}: its secret value isn't in the file")
        for entry in definition.get("environment", [])
        if entry.get("value") == SET
    ]


def write(definitions: Iterable[Mapping[str, Any]]) -> str:
    programs = [compact({**definition, **_masked(definition)}) for definition in definitions]
    return HEADER + str(
        yaml.dump({"programs": programs}, Dumper=DUMPER, sort_keys=False, allow_unicode=True, width=110)
    )


def _masked(definition: Mapping[str, Any]) -> dict[str, Any]:
    entries = definition.get("environment") or []
    return {"environment": [_masked_entry(entry) for entry in entries]}


def _masked_entry(entry: Mapping[str, Any]) -> dict[str, Any]:
    if entry.get("secret") or "encrypted" in entry:
        return {"name": entry["name"], "secret": True, "value": dict(SET)}
    return {"name": entry["name"], "value": entry["value"]}
