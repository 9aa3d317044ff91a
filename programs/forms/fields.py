"""Form fields that show stored lists, times and byte counts the way people write them."""

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
    """A number with its unit beside it."""

    input_type = "number"

    def __init__(self, unit: str, **attrs: str) -> None:
        super().__init__({"step": "any", "min": "0", "suffix": unit, "class": "unit-input", **attrs})


class MegabytesField(forms.FloatField):
    """Shown and typed in MB (1,048,576 bytes), handed on in bytes. Exact both ways: the factor is a power of 2."""

    def prepare_value(self, value: Any) -> Any:
        if not isinstance(value, int):
            return value  # what was typed, shown again beside its error
        megabytes = value / MEGABYTE
        return int(megabytes) if megabytes.is_integer() else megabytes

    def clean(self, value: Any) -> Any:
        megabytes = super().clean(value)
        return None if megabytes is None else round(megabytes * MEGABYTE)

    def has_changed(self, initial: Any, data: Any) -> bool:
        return super().has_changed(self.prepare_value(initial), data)


class WordsField(forms.CharField):
    """A list of words, written with commas or spaces between them."""

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
            raise ValidationError(_("%(word)s is no whole number."), params={"word": wrong})
        return [int(word) for word in words]

    def has_changed(self, initial: Any, data: Any) -> bool:
        try:
            return super().has_changed(initial, data)
        except ValidationError:
            return True


# --- Times ----------------------------------------------------------------------------------------------

UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
DURATION = re.compile(r"(?P<count>\d{1,9}(?:\.\d{1,3})?)\s*(?P<unit>[smhd]?)", re.IGNORECASE)


def seconds_text(seconds: float) -> str:
    """In the largest unit that divides it: 7200 as "2h", 90 as "90s"."""
    if seconds != int(seconds):
        return f"{seconds:g}s"
    unit = next(unit for unit in "dhms" if seconds % UNITS[unit] == 0) if seconds else "s"
    return f"{int(seconds) // UNITS[unit]}{unit}"


def seconds_of(text: str) -> float:
    """`"2h"` → 7200; a number alone is seconds. Raises ValidationError."""
    found = DURATION.fullmatch(text.strip())
    if not found:
        text_ = _("%(text)s is no time; write 30s, 5m, 2h or 1d.")
        raise ValidationError(text_, params={"text": text[:40]})
    seconds = float(found["count"]) * UNITS[found["unit"].lower() or "s"]
    return int(seconds) if seconds.is_integer() else seconds


class DurationField(forms.CharField):
    """Whole seconds, shown and typed as `90s`, `5m`, `2h` or `1d`; None when empty."""

    widget = UnfoldAdminTextInputWidget

    def prepare_value(self, value: Any) -> Any:
        return seconds_text(value) if isinstance(value, int | float) else value

    def clean(self, value: Any) -> Any:
        text = super().clean(value)
        return round(seconds_of(text)) if text else None

    def has_changed(self, initial: Any, data: Any) -> bool:
        return super().has_changed(self.prepare_value(initial), data)


class DurationsField(forms.CharField):
    """A list of them with commas or spaces between."""

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
    """Programs by name, kept as a list of their ids."""

    def __init__(self, **kwargs: Any) -> None:
        # Django's own search wants a relation to look at; that of the events leads to the same programs.
        relation = ProgramEvent._meta.get_field("program")
        widget = AutocompleteSelectMultiple(relation, site)
        super().__init__(Program.objects.order_by("name"), required=False, widget=widget, **kwargs)

    def clean(self, value: Any) -> Any:
        return sorted(program.pk for program in super().clean(value))
