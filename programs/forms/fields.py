"""Form fields that show stored lists and byte counts the way people write them."""

from __future__ import annotations

import re
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.utils.translation import gettext_lazy as _
from unfold.widgets import UnfoldAdminTextInputWidget

MEGABYTE = 1024 * 1024


class UnitInput(UnfoldAdminTextInputWidget):
    """A number with its unit beside it."""

    input_type = "number"

    def __init__(self, unit: str, **attrs: str) -> None:
        super().__init__({"step": "any", "min": "0", "suffix": unit, "class": "unit-input", **attrs})


class MegabytesField(forms.FloatField):
    """Shown and typed in MB (1,048,576 bytes), handed on in bytes. Exact both ways: the factor is a power of 2."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(widget=UnitInput("MB"), **kwargs)

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
