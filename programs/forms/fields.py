"""Form fields for lists, durations and sizes, shown and entered in the way people write them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib.admin import site
from django.contrib.admin.widgets import AutocompleteSelectMultiple
from django.core.exceptions import ValidationError
from django.utils.translation import gettext_lazy as _
from unfold.widgets import UnfoldAdminTextInputWidget

from programs.models import Program, ProgramEvent

MEGABYTE = 1024 * 1024


class UnitInput(UnfoldAdminTextInputWidget):
    """A number with its unit as a suffix."""

    input_type = "number"

    def __init__(self, unit: str, **attrs: str) -> None:
        super().__init__({"step": "any", "min": "0", "suffix": unit, "class": "unit-input", **attrs})


class MegabytesField(forms.FloatField):
    """Shown and entered in MB (1,048,576 bytes); the value is in bytes."""

    def prepare_value(self, value: Any) -> Any:
        if not isinstance(value, int):
            return value  # the text that was entered, shown again with its error
        megabytes = value / MEGABYTE
        return int(megabytes) if megabytes.is_integer() else megabytes

    def clean(self, value: Any) -> Any:
        megabytes = super().clean(value)
        return None if megabytes is None else round(megabytes * MEGABYTE)

    def has_changed(self, initial: Any, data: Any) -> bool:
        return super().has_changed(self.prepare_value(initial), data)


class WordsField(forms.CharField):
    """A list of words, separated by commas or spaces."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(required=False, widget=UnfoldAdminTextInputWidget(), **kwargs)

    def prepare_value(self, value: Any) -> Any:
        return ", ".join(map(str, value)) if isinstance(value, list) else value

    def to_python(self, value: Any) -> Any:
        return [word for word in re.split(r"[,\s]+", value or "") if word]

    def has_changed(self, initial: Any, data: Any) -> bool:
        return bool((initial or []) != self.to_python(data))


class NumbersField(WordsField):
    """A list of whole numbers."""

    def to_python(self, value: Any) -> Any:
        words = super().to_python(value)
        if wrong := next((word for word in words if not re.fullmatch(r"-?\d{1,9}", word)), None):
            raise ValidationError(_("%(word)s isn't a whole number."), params={"word": wrong})
        return [int(word) for word in words]

    def has_changed(self, initial: Any, data: Any) -> bool:
        try:
            return super().has_changed(initial, data)
        except ValidationError:
            return True


# --- Durations ------------------------------------------------------------------------------------------

UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
DURATION = re.compile(r"(?P<count>\d{1,9}(?:\.\d{1,3})?)\s*(?P<unit>[smhd]?)", re.IGNORECASE)


def seconds_text(seconds: float) -> str:
    """In the largest unit that gives a whole number: 7200 is "2h", 90 is "90s"."""
    if seconds != int(seconds):
        return f"{seconds:g}s"
    unit = next(unit for unit in "dhms" if seconds % UNITS[unit] == 0) if seconds else "s"
    return f"{int(seconds) // UNITS[unit]}{unit}"


def seconds_of(text: str) -> float:
    """`"2h"` is 7200; without a unit it is seconds. Raises ValidationError."""
    found = DURATION.fullmatch(text.strip())
    if not found:
        problem = _("“%(text)s” isn't a duration. Use 30s, 5m, 2h or 1d.")
        raise ValidationError(problem, params={"text": text[:40]})
    seconds = float(found["count"]) * UNITS[found["unit"].lower() or "s"]
    return int(seconds) if seconds.is_integer() else seconds


class DurationField(forms.CharField):
    """Whole seconds, shown and entered as `90s`, `5m`, `2h` or `1d`; None if empty."""

    widget = UnfoldAdminTextInputWidget

    def prepare_value(self, value: Any) -> Any:
        return seconds_text(value) if isinstance(value, int | float) else value

    def clean(self, value: Any) -> Any:
        text = super().clean(value)
        return round(seconds_of(text)) if text else None

    def has_changed(self, initial: Any, data: Any) -> bool:
        return super().has_changed(self.prepare_value(initial), data)


class DurationsField(forms.CharField):
    """A list of durations, separated by commas or spaces."""

    widget = UnfoldAdminTextInputWidget

    def prepare_value(self, value: Any) -> Any:
        return ", ".join(map(seconds_text, value)) if isinstance(value, list) else value

    def to_python(self, value: Any) -> Any:
        return [seconds_of(word) for word in re.split(r"[,\s]+", value or "") if word]

    def has_changed(self, initial: Any, data: Any) -> bool:
        return super().has_changed(self.prepare_value(initial), data)


# --- Programs -------------------------------------------------------------------------------------------

if TYPE_CHECKING:
    ProgramChoices = forms.ModelMultipleChoiceField[Program]
else:
    ProgramChoices = forms.ModelMultipleChoiceField  # not subscriptable at run time


class ProgramsField(ProgramChoices):
    """Programs by name; the value is a sorted list of ids."""

    def __init__(self, **kwargs: Any) -> None:
        # Django's autocomplete widget takes a relation; any foreign key to Program will do.
        relation = ProgramEvent._meta.get_field("program")
        widget = AutocompleteSelectMultiple(relation, site)
        super().__init__(Program.objects.order_by("name"), required=False, widget=widget, **kwargs)

    def clean(self, value: Any) -> Any:
        return sorted(program.pk for program in super().clean(value))
