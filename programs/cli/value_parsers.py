"""Parses the option values of `program add`. All raise ArgumentTypeError."""

from __future__ import annotations

import re
from argparse import ArgumentTypeError
from typing import Any

from core.cli.time_parsing import UNITS
from programs.definition.types import fields_of
from programs.definition.values import Condition, Probe

PROBE_FIELDS = {field.name: field for field in fields_of(Probe)}
PROBE_NUMBERS = tuple(name for name, field in PROBE_FIELDS.items() if field.type.base in (int, float))
PROBE_PURPOSES = PROBE_FIELDS["purpose"].type.choices
SIZES = {"": 1, "k": 1024, "m": 1024**2, "g": 1024**3, "t": 1024**4}
STOP_STEP_HELP = "Write signal:INT:5, stdin:stop:30, 'command:…:10' or http:…:10."
PROBE_HELP = (
    "Write http:URL, tcp:HOST:PORT, exec:COMMAND or log:TEXT; with options "
    "http,readiness,period=5,timeout=2,failures=3:URL."
)


def variable(text: str) -> dict[str, Any]:
    name, equals, value = text.partition("=")
    if not equals:
        raise ArgumentTypeError(f"{text!r} has no value. Use {text}=VALUE.")
    return {"name": name, "value": value}


def size(text: str) -> int:
    """`52428800`, `512K`, `50M` or `1.5GB`, in bytes; units are powers of 1024."""
    found = re.fullmatch(r"(\d{1,18}(?:\.\d{1,9})?)\s*([kmgt]?)(?:i?b)?", text.strip().lower())
    if found is None:
        raise ArgumentTypeError(f"{text!r} isn't a size. Use 50M or 1G.")
    return int(float(found[1]) * SIZES[found[2]]) if found[2] or "." in found[1] else int(found[1])


def duration(text: str) -> float:
    """`90`, `1.5` or `10m`, in seconds. The definition's rules refuse what is negative or too long."""
    found = re.fullmatch(r"(-?\d{1,12}(?:\.\d{1,9})?)([smhdw]?)", text.strip().lower())
    if found is None:
        raise ArgumentTypeError(f"{text!r} isn't a duration. Use 30, 10m or 2h.")
    return float(found[1]) * UNITS[found[2]]


def stop_step(text: str) -> dict[str, Any]:
    """`signal:INT:5`: the step, and its seconds after the last colon."""
    step, _, seconds = text.rpartition(":")
    if ":" not in step or not re.fullmatch(r"\d{1,6}(\.\d{1,3})?", seconds):
        raise ArgumentTypeError(f"{text!r} isn't a stop step. Use KIND:ARGUMENT:SECONDS, such as signal:INT:5.")
    return {"step": step, "seconds": _plain(seconds)}


def dependency(text: str) -> dict[str, Any]:
    """`db`, `db:started` or `db:healthy`; the name itself may contain colons."""
    name, _, condition = text.rpartition(":")
    if name and condition in Condition.values:
        return {"program": name, "condition": condition}
    return {"program": text, "condition": Condition.STARTED.value}


def probe(text: str) -> dict[str, Any]:
    """`http:http://127.0.0.1:8000/`, with more before the first colon: `http,readiness,period=5:http://…`."""
    head, colon, target = text.partition(":")
    kind, *more = head.split(",")
    if not colon or not target:
        raise ArgumentTypeError(f"{text!r} isn't a probe. Use KIND:TARGET, such as tcp:127.0.0.1:6379.")
    made: dict[str, Any] = {"kind": kind, "target": target}
    for word in more:
        key, equals, value = word.partition("=")
        if word in PROBE_PURPOSES:
            made["purpose"] = word
        elif equals and key in PROBE_NUMBERS:
            made[key] = _number(word, value)
        else:
            raise ArgumentTypeError(f"{word!r}: a probe has {', '.join([*PROBE_PURPOSES, *PROBE_NUMBERS])}.")
    return made


def _number(word: str, value: str) -> float:
    if not re.fullmatch(r"\d{1,6}(\.\d{1,3})?", value):
        raise ArgumentTypeError(f"{word!r} has no number.")
    return _plain(value)


def _plain(text: str) -> float:
    number = float(text)
    return int(number) if number.is_integer() else number
