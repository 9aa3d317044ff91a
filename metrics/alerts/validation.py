"""What makes a rule valid. The API, the admin and the commands share this, because it hangs on the model."""

from __future__ import annotations

import math
from typing import Any, Protocol

from django.conf import settings
from django.core.exceptions import ValidationError

from programs.descriptions import quantity
from programs.validation import name as name
from programs.validation import tags as tags

from .units import LEVELS, Level

LONGEST_WINDOW = 86_400
LARGEST_LEVEL = 10**15  # a petabyte; what is shown of it is exact up to here


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
        raise ValidationError("Must be a list of program ids; an empty one means all.")


def level(value: float) -> None:
    if not math.isfinite(value) or not 0 <= value <= LARGEST_LEVEL:
        raise ValidationError("Must be between 0 and 1,000,000,000,000,000.")


def window(value: int) -> None:
    if not settings.RECORD_SECONDS <= value <= LONGEST_WINDOW:
        least = f"{settings.RECORD_SECONDS:g} (how often is recorded)"
        raise ValidationError(f"Must be between {least} and {LONGEST_WINDOW:,} seconds (a day).")


def rule(rule: Thresholds) -> None:
    """What needs several fields. Raises ValidationError with their names."""
    threshold: Any = rule.threshold
    if not isinstance(threshold, int | float):
        return  # told at the field already
    if rule.condition == "below" and threshold == 0:
        raise ValidationError({"threshold": "Nothing is ever below 0."})
    clear = threshold if rule.clear_threshold is None else rule.clear_threshold
    if clear > threshold if rule.condition == "above" else clear < threshold:
        level = LEVELS.get(rule.metric, Level(""))
        text = f"Must not lie {rule.condition} the threshold ({quantity(threshold, level.unit)})."
        raise ValidationError({"clear_threshold": text})
