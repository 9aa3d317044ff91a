"""The options of `program add`: one for each field of a definition, made from `definition.fields`."""

from __future__ import annotations

from argparse import ArgumentParser, BooleanOptionalAction
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from core.cli.terminal import Options
from programs.definition.fields import HELP, INFO
from programs.definition.types import FieldInfo, Mark

from . import value_parsers

POSITIONAL = ("name", "command")
DESTINATION = "field_{}"


@dataclass(frozen=True)
class FieldOption:
    """`is_repeatable`: each use adds one entry to the field's list."""

    field: str
    flag: str
    convert: Callable[[str], Any] = str
    metavar: str | None = None
    choices: tuple[str, ...] | None = None
    is_repeatable: bool = False
    is_switch: bool = False
    help: str = ""

    def add_to(self, parser: ArgumentParser) -> None:
        common: dict[str, Any] = {"dest": DESTINATION.format(self.field), "help": self.help.replace("%", "%%")}
        if self.is_switch:
            parser.add_argument(self.flag, action=BooleanOptionalAction, default=None, **common)
            return
        action = "append" if self.is_repeatable else "store"
        parser.add_argument(
            self.flag, action=action, type=self.convert, metavar=self.metavar, choices=self.choices, **common
        )


def _many(field: str, flag: str, convert: Callable[[str], Any], metavar: str, syntax: str = "") -> FieldOption:
    help_text = f"{HELP[field]} {syntax}".rstrip()
    return FieldOption(field, flag, convert, metavar, is_repeatable=True, help=help_text)


LISTS = {
    option.field: option
    for option in (
        _many("tags", "--tag", str, "TAG"),
        _many("environment", "--env", value_parsers.variable, "NAME=VALUE"),
        _many("success_exit_codes", "--success-exit-code", int, "CODE", "(default: 0)"),
        _many("stop_ladder", "--stop-step", value_parsers.stop_step, "STEP:SECONDS", value_parsers.STOP_STEP_HELP),
        _many("depends_on", "--depends-on", value_parsers.dependency, "NAME[:healthy]"),
        _many("probes", "--probe", value_parsers.probe, "KIND[,…]:TARGET", value_parsers.PROBE_HELP),
    )
}

# How a value is written on the command line: converter and metavar, by the mark of its type or by the type.
SYNTAX: dict[Mark | type, tuple[Callable[[str], Any], str]] = {
    Mark.BYTES: (value_parsers.size, "SIZE"),
    Mark.SECONDS: (value_parsers.duration, "SECONDS"),
    int: (int, "N"),
    float: (float, "NUMBER"),
    str: (str, "TEXT"),
}


def field_options() -> list[FieldOption]:
    return [LISTS.get(name) or _option(info) for name, info in INFO.items() if name not in POSITIONAL]


def _option(info: FieldInfo) -> FieldOption:
    flag, kind = f"--{info.name.replace('_', '-')}", info.type
    help_text = f"{HELP[info.name]}{_default_text(info.default)}"
    if kind.base is bool:
        return FieldOption(info.name, flag, is_switch=True, help=help_text)
    if kind.choices:
        return FieldOption(info.name, flag, choices=kind.choices, help=help_text)
    convert, metavar = SYNTAX[kind.mark or kind.base]
    return FieldOption(info.name, flag, convert, metavar, help=help_text)


def _default_text(default: Any) -> str:
    if default is None or default == "":
        return ""
    return f" (default: {SWITCH_WORDS[default] if isinstance(default, bool) else default})"


SWITCH_WORDS = {True: "yes", False: "no"}


def given_values(options: Options, known: Iterable[FieldOption]) -> dict[str, Any]:
    values = {option.field: getattr(options, DESTINATION.format(option.field)) for option in known}
    return {field: value for field, value in values.items() if value is not None}


def with_secrets(values: Mapping[str, Any], secrets: Mapping[str, str]) -> dict[str, Any]:
    if not secrets:
        return dict(values)
    entries = [{"name": name, "value": value, "secret": True} for name, value in secrets.items()]
    return {**values, "environment": [*values.get("environment", []), *entries]}
