"""Validators of alert rules, used by the model and so by API, admin and commands."""

from __future__ import annotations

import math
from typing import Any, Protocol

from django.conf import settings
from django.core.exceptions import ValidationError

from programs.descriptions import quantity
from programs.validation import name as name
from programs.validation import tags as tags

from .units import METRIC_SPECS, MetricSpec

MAX_WINDOW = 86_400
MAX_THRESHOLD = 10**15  # a petabyte; larger numbers are not displayed exactly


class Thresholds(Protocol):
    """What `rule` reads of a `models.AlertRule`. Invalid numbers may be anything."""

    @property
    def metric(self) -> str: ...
    @property
    def condition(self) -> str: ...
    @property
    def threshold(self) -> Any: ...
    @property
    def clear_threshold(self) -> Any: ...


def program_ids(value: Any) -> None:
    if not isinstance(value, list) or any(type(each) is not int for each in value):
        raise ValidationError("Must be a list of program ids. An empty list means all programs.")


def level(value: float) -> None:
    if not math.isfinite(value) or not 0 <= value <= MAX_THRESHOLD:
        raise ValidationError("Must be between 0 and 1,000,000,000,000,000.")


def window(value: int) -> None:
    if not settings.RECORD_SECONDS <= value <= MAX_WINDOW:
        least = f"{settings.RECORD_SECONDS:g} (the recording interval)"
        raise ValidationError(f"Must be between {least} and {MAX_WINDOW:,} seconds (a day).")


def rule(rule: Thresholds) -> None:
    """Checks that involve several fields. Raises ValidationError by field."""
    threshold: Any = rule.threshold
    if not isinstance(threshold, int | float):
        return  # the field itself already has an error
    if rule.condition == "below" and threshold == 0:
        raise ValidationError({"threshold": "A value is never below 0."})
    clear = threshold if rule.clear_threshold is None else rule.clear_threshold
    if clear > threshold if rule.condition == "above" else clear < threshold:
        level = METRIC_SPECS.get(rule.metric, MetricSpec(""))
        text = f"Must not be {rule.condition} the threshold ({quantity(threshold, level.unit)})."
        raise ValidationError({"clear_threshold": text})
