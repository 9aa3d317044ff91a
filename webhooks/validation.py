"""What makes an endpoint valid. The API, the admin and the commands share these rules: they hang on the model."""

from __future__ import annotations

import ssl
from collections.abc import Iterable
from typing import Any

from django.core.exceptions import ValidationError

from core.suggest import did_you_mean
from programs.events import TYPES
from programs.validation import cron as cron
from programs.validation import name as name
from programs.validation import tags as tags

from .outbox import conditions as rules
from .outbox.patterns import is_pattern, matches

PATTERNS = [*TYPES, *sorted({f"{event_type.partition('.')[0]}.*" for event_type in TYPES})]
LONGEST_SCHEDULE = 50
LONGEST_CERTIFICATES = 100_000
LONGEST_GAP = 7 * 86_400


def event_patterns(value: Any) -> None:
    if not isinstance(value, list) or not value:
        raise ValidationError('Must be a list with at least one event type, for example ["program.*"].')
    for pattern in value:
        if not is_pattern(pattern):
            raise ValidationError(f"{pattern!r} is no event type; write program.crashed, program.* or *.")


def known_events(patterns: Any, kept: Iterable[str] = ()) -> None:
    """Refuses a pattern that matches no type of event, and so never would; those in `kept` may stay."""
    new = (
        [each for each in patterns if is_pattern(each) and each not in kept] if isinstance(patterns, list) else []
    )
    for pattern in new:
        if not any(matches(pattern, event_type) for event_type in TYPES):
            raise ValidationError(f"{pattern} matches no type of event.{did_you_mean(pattern, PATTERNS)}")


def program_ids(value: Any) -> None:
    if not isinstance(value, list) or any(type(each) is not int for each in value):
        raise ValidationError("Must be a list of program ids; an empty one means all.")


def conditions(value: Any) -> None:
    try:
        rules.check(value)
    except rules.ConditionError as error:
        raise ValidationError(str(error)) from error


def retry_schedule(value: Any) -> None:
    if not isinstance(value, list) or len(value) > LONGEST_SCHEDULE:
        raise ValidationError(f"Must be a list of at most {LONGEST_SCHEDULE} numbers of seconds.")
    if any(type(gap) not in (int, float) or not 1 <= gap <= LONGEST_GAP for gap in value):
        raise ValidationError("Each gap must be between 1 second and 7 days (604,800 seconds).")


def timeout(value: float) -> None:
    _between(value, 1, 30, "seconds")


def concurrency(value: int) -> None:
    _between(value, 1, 10, "at a time")


def rate(value: float) -> None:
    _between(value, 0.01, 10_000, "per second")


def bundle(value: float) -> None:
    _between(value, 0, 3600, "seconds")


def max_age(value: int) -> None:
    _between(value, 1, 366 * 86_400, "seconds")


def window(value: int) -> None:
    _between(value, 1, 7 * 86_400, "seconds")


def certificates(value: str) -> None:
    """One or several certificates in PEM, and nothing that is a private key."""
    if "PRIVATE KEY" in value:
        raise ValidationError("This holds a private key; give the certificate of the authority alone.")
    if len(value) > LONGEST_CERTIFICATES:
        raise ValidationError(f"Must be at most {LONGEST_CERTIFICATES} characters.")
    try:
        ssl.create_default_context(cadata=value)
    except (ssl.SSLError, ValueError, TypeError) as error:
        raise ValidationError("These are no certificates in PEM (-----BEGIN CERTIFICATE----- …).") from error


def _between(value: float, low: float, high: float, unit: str) -> None:
    if not low <= value <= high:
        raise ValidationError(f"Must be between {low:g} and {high:g} {unit}.")
