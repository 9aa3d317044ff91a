"""The monitor's own YAML: `programs`, a list of definitions with the fields of the API's JSON.

The type of the field decides how a value is read, not YAML's rules: `umask: 022` stays 022, `value: on` stays on.
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


class _UnfitError(Exception):
    """A value of the wrong type; becomes a FormatError where the file is known."""

    def __init__(self, node: Node, message: str) -> None:
        super().__init__(message)
        self.line = line(node)


def _text(node: Node) -> str:
    if not isinstance(node, ScalarNode):
        raise _UnfitError(node, "expected a text")
    return str(node.value)


def _boolean(node: Node) -> bool:
    if _text(node) not in BOOLEANS:
        raise _UnfitError(node, f"{_text(node)[:80]!r} isn't true or false")
    return BOOLEANS[_text(node)]


def _whole(node: Node) -> int:
    if not re.fullmatch(r"[+-]?[0-9][0-9_]{0,18}", _text(node)):
        raise _UnfitError(node, f"{_text(node)[:80]!r} isn't a whole number")
    return int(_text(node))


def _number(node: Node) -> float:
    if not re.fullmatch(r"[+-]?[0-9]{1,15}(\.[0-9]{1,15})?(e[+-]?[0-9]{1,2})?", _text(node), re.IGNORECASE):
        raise _UnfitError(node, f"{_text(node)[:80]!r} isn't a number")
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
            raise _UnfitError(node, "expected a list")
        return [convert(item) for item in node.value]

    return converted


def _fields(node: Node, fields: Mapping[str, Converter], required: Sequence[str], what: str) -> dict[str, Any]:
    if not isinstance(node, MappingNode):
        raise _UnfitError(node, f"{what} must be a mapping, with {', '.join(required)}")
    found = {}
    for key, value in pairs(node, Source("")).items():
        if key not in fields:
            raise _UnfitError(value, f"{what} has no field {key[:80]!r}")
        found[key] = fields[key](value)
    if missing := [key for key in required if key not in found]:
        raise _UnfitError(node, f"{what} without {', '.join(missing)}")
    return found


def _value(node: Node) -> Any:
    """A variable's value, or `{"set": true}` in place of a secret one."""
    if not isinstance(node, MappingNode):
        return _text(node)
    if _fields(node, {"set": _boolean}, ["set"], "a value") != SET:
        raise _UnfitError(node, "a value must be a text, or {set: true} for a stored secret")
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
    except _UnfitError as error:
        raise source.error(str(error), error.line) from error
    except FormatError as error:
        raise source.error(error.message, error.line) from error


def _imported(source: Source) -> Imported:
    top = compose(source)
    if not isinstance(top, MappingNode):
        raise source.error('the file must contain "programs:", a list')
    keys = pairs(top, source)
    for key, node in keys.items():
        if key != "programs" and not key.startswith("x-"):  # x-… holds anchors, like in Compose files
            raise source.error(f"unknown key {key[:80]!r}; only programs is allowed", line(node))
    if not isinstance(keys.get("programs"), SequenceNode):
        raise source.error('the file must contain "programs:", a list', line(top))
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
    """Fields in their order, without defaults and secret values."""
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
