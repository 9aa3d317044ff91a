"""Validators of single fields, named by the models and their migrations.

The API, the admin, the commands and imports share them, because they are part of the columns. Every message says
what is wrong and what would be right. Rules over several fields: `definition.rules`.
"""

from __future__ import annotations

import re
from typing import Any

from cronsim import CronSim, CronSimError
from django.core.exceptions import ValidationError
from django.utils import timezone

from .definition.values import SET, EnvironmentEntry, Probe, StopStep

LOG_MIN_BYTES = 64 * 1024


def name(value: str) -> None:
    if value != value.strip() or re.search(r"[\x00-\x1f\x7f/]", value) or value in {".", ".."}:
        raise ValidationError("A name can't begin or end with a space, or contain a slash or control character.")


def positive(value: float) -> None:
    if value <= 0:
        raise ValidationError("Must be greater than 0.")


def seconds(value: float) -> None:
    if not 0 <= value <= 31_536_000:
        raise ValidationError("Must be between 0 and 31,536,000 seconds (a year).")


def factor(value: float) -> None:
    if not 1 <= value <= 100:
        raise ValidationError("Must be between 1 and 100.")


def share(value: float) -> None:
    if not 0 <= value <= 1:
        raise ValidationError("Must be between 0 and 1.")


def nice(value: int) -> None:
    if not -20 <= value <= 19:
        raise ValidationError("Must be between -20 (highest priority) and 19 (lowest priority).")


def umask(value: str) -> None:
    if not re.fullmatch(r"0?[0-7]{3}", value):
        raise ValidationError("Use three octal digits, for example 022.")


def log_size(value: int) -> None:
    if value < LOG_MIN_BYTES:
        raise ValidationError(f"Must be at least {LOG_MIN_BYTES} bytes.")


def cron(value: str) -> None:
    if len(value.split()) != 5:
        raise ValidationError("A cron expression has five fields. Example: 0 4 * * * (daily at 04:00).")
    try:
        times = CronSim(value, timezone.now())
        next(times), next(times)
    except CronSimError as error:
        raise ValidationError(f"Not a cron expression: {error}. Example: 0 4 * * * (daily at 04:00).") from error
    except StopIteration:
        raise ValidationError("This never happens, for example a 30th of February. Choose another time.") from None


def tags(value: Any) -> None:
    if not isinstance(value, list) or not all(isinstance(tag, str) for tag in value):
        raise ValidationError("Must be a list of words.")
    for tag in value:
        if not re.fullmatch(r"[^\s,\"\\\x00-\x1f]{1,50}", tag):
            raise ValidationError(f"{tag!r} isn't a tag. Use 1 to 50 characters without space, comma or quote.")
    if len(set(value)) != len(value):
        raise ValidationError("A tag is listed twice.")


def exit_codes(value: Any) -> None:
    if not isinstance(value, list) or not all(type(code) is int and 0 <= code <= 255 for code in value):
        raise ValidationError("Must be a list of numbers between 0 and 255.")


def environment(value: Any) -> None:
    """A list of `{"name", "value"}`, or of `{"name", "secret": true, "encrypted"}` once stored."""
    if not isinstance(value, list):
        raise ValidationError('Must be a list of {"name": …, "value": …}.')
    names = [_stored_variable(entry).name for entry in value]
    if repeated := next((name for name in names if names.count(name) > 1), None):
        raise ValidationError(f"{repeated} is listed twice.")


def _stored_variable(entry: Any) -> EnvironmentEntry:
    if not isinstance(entry, dict) or not isinstance(entry.get("encrypted"), str):
        variable = EnvironmentEntry.from_json(entry)
        if variable.secret:
            raise ValidationError(f"{variable.name} has no encrypted value.")
        return variable
    known = {key: value for key, value in entry.items() if key != "encrypted"}
    return EnvironmentEntry.from_json({**known, "value": SET})


def stop_ladder(value: Any) -> None:
    if not isinstance(value, list):
        raise ValidationError('Must be a list of {"step": …, "seconds": …}.')
    for step in value:
        StopStep.from_json(step)


def probes(value: Any) -> None:
    if not isinstance(value, list):
        raise ValidationError("Must be a list of probes.")
    for probe in value:
        Probe.from_json(probe)
