"""The base of forms that a service saves: they validate, and hand over `values` and `stored`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

from django import forms
from django.core.exceptions import ValidationError
from django.db.models import Model
from django.utils.translation import gettext as _

T = TypeVar("T", bound=Model)

if TYPE_CHECKING:
    ModelForm = forms.ModelForm
else:

    class ModelForm(forms.ModelForm, Generic[T]):
        """Subscriptable at run time too."""


class ServiceForm(ModelForm[T]):
    """`service_fields` are those that `values` hands over; `labels` and `help_texts` may leave fields out.

    The model counts its versions in `revision`, or the form overrides `shown_version` and `newest_version`.
    """

    service_fields: ClassVar[Sequence[str]]
    labels: ClassVar[Mapping[str, Any]]
    help_texts: ClassVar[Mapping[str, Any]]

    seen = forms.IntegerField(required=False, widget=forms.HiddenInput)  # the version that the page showed

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.initial["seen"] = self.shown_version()
        for name, field in self.fields.items():
            field.label = self.labels.get(name, field.label)
            field.help_text = self.help_texts.get(name, "")

    def stored(self) -> T | None:
        """The object from the database, None for a new one: the form has already changed its own instance."""
        return type(self.instance)._default_manager.get(pk=self.instance.pk) if self.instance.pk else None

    def shown_version(self) -> int | None:
        # Not read again: the page shows the instance as it was read, whatever has happened since.
        version: int | None = self.instance.revision if self.instance.pk else None  # type: ignore[attr-defined]
        return version

    def newest_version(self) -> int | None:
        rows = type(self.instance)._default_manager.filter(pk=self.instance.pk)
        return rows.values_list("revision", flat=True).first() if self.instance.pk else None

    def stale_error(self) -> ValidationError:
        return ValidationError(_("This was changed meanwhile. Reload the page first."))

    def values(self) -> dict[str, Any]:
        """What the service takes, without the fields that have errors."""
        return {name: self.cleaned_data[name] for name in self.service_fields if name in self.cleaned_data}

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        newest, seen = self.newest_version(), cleaned.get("seen")
        if newest is not None and seen is not None and newest > seen:
            raise self.stale_error()
        return cleaned

    def add_errors(self, by_field: Mapping[str, list[str]]) -> None:
        """Shows the service's errors at the fields they are about, unless the form has found one there itself."""
        for field, messages in by_field.items():
            if field not in self.errors:
                self.add_error(field if field in self.fields else None, messages)
