"""Validators of endpoints and mutes. They are attached to the models, so API, admin and commands share them."""

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
from .outbox.matching import is_pattern, matches_pattern

PATTERNS = [*TYPES, *sorted({f"{event_type.partition('.')[0]}.*" for event_type in TYPES})]
MAX_SCHEDULE_LENGTH = 50
MAX_CERTIFICATES_LENGTH = 100_000
MAX_DELAY = 7 * 86_400


def event_patterns(value: Any) -> None:
    if not isinstance(value, list) or not value:
        raise ValidationError('Must be a list with at least one event type, for example ["program.*"].')
    for pattern in value:
        if not is_pattern(pattern):
            raise ValidationError(
                f"{pattern!r} is not an event type. Write, for example, program.crashed, program.* or *."
            )


def known_events(patterns: Any, existing: Iterable[str] = ()) -> None:
    """Refuses patterns that match no known event type, except those in `existing`."""
    new = (
        [each for each in patterns if is_pattern(each) and each not in existing]
        if isinstance(patterns, list)
        else []
    )
    for pattern in new:
        # Such an endpoint would never get an event, which nobody would notice.
        if not any(matches_pattern(pattern, event_type) for event_type in TYPES):
            raise ValidationError(f"{pattern} does not match any event type.{did_you_mean(pattern, PATTERNS)}")


def program_ids(value: Any) -> None:
    if not isinstance(value, list) or any(type(each) is not int for each in value):
        raise ValidationError("Must be a list of program ids. An empty list means all programs.")


def conditions(value: Any) -> None:
    try:
        rules.validate(value)
    except rules.ConditionError as error:
        raise ValidationError(str(error)) from error


def retry_schedule(value: Any) -> None:
    if not isinstance(value, list) or len(value) > MAX_SCHEDULE_LENGTH:
        raise ValidationError(f"Must be a list of at most {MAX_SCHEDULE_LENGTH} numbers of seconds.")
    if any(type(delay) not in (int, float) or not 1 <= delay <= MAX_DELAY for delay in value):
        raise ValidationError("Each delay must be between 1 second and 7 days (604,800 seconds).")


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
    if "PRIVATE KEY" in value:
        raise ValidationError("This contains a private key. Enter only the certificate of the authority.")
    if len(value) > MAX_CERTIFICATES_LENGTH:
        raise ValidationError(f"Must be at most {MAX_CERTIFICATES_LENGTH} characters.")
    try:
        # Loads them as a connection would.
        ssl.create_default_context(cadata=value)
    except (ssl.SSLError, ValueError, TypeError) as error:
        raise ValidationError("Enter certificates in PEM format (-----BEGIN CERTIFICATE----- …).") from error


def _between(value: float, low: float, high: float, unit: str) -> None:
    if not low <= value <= high:
        raise ValidationError(f"Must be between {low:g} and {high:g} {unit}.")
