"""Form fields for lists of records (variables, stop steps, probes, dependencies), with a row for each record.

Row 3 of `environment` posts `environment-3-name`, `environment-3-value` and so on; a row removed from the page is
removed from the list. Errors of a row are shown in the row, errors of the whole list at the field.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, ClassVar

from django import forms
from django.core.exceptions import ValidationError
from django.template.loader import render_to_string
from django.utils.translation import gettext_lazy as _

MAX_ROWS = 500


class Row(forms.Form):
    """One record. Subclasses convert it to and from JSON and validate it."""

    add_label: ClassVar[Any] = _("Add a row")
    ordered: ClassVar[bool] = False

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs |= {"empty_permitted": True, "use_required_attribute": False}
        super().__init__(*args, **kwargs)

    @classmethod
    def from_json(cls, entry: Any) -> dict[str, Any]:
        return dict(entry) if isinstance(entry, Mapping) else {}

    def to_json(self) -> dict[str, Any]:
        return dict(self.cleaned_data)

    def check(self, entry: dict[str, Any]) -> None:
        """Raises ValidationError if the definition would refuse the record."""

    def clean(self) -> dict[str, Any]:
        if not self.errors and self.has_changed():
            self.check(self.to_json())
        return self.cleaned_data


class PostedRows(list[dict[str, Any]]):
    """Rows as the browser sent them, unlike stored records."""


def row_forms(row: type[Row], name: str, value: Any) -> list[Row]:
    """The forms of a stored or posted list; only posted ones have errors."""
    if isinstance(value, PostedRows):
        return [_bound(row, f"{name}-{index}", posted) for index, posted in enumerate(value)]
    stored = value if isinstance(value, list) else []
    return [row(initial=row.from_json(entry), prefix=f"{name}-{index}") for index, entry in enumerate(stored)]


def _bound(row: type[Row], prefix: str, posted: dict[str, Any]) -> Row:
    return row({f"{prefix}-{key}": given for key, given in posted.items()}, prefix=prefix)


class RowsWidget(forms.Widget):
    template_name = "admin/programs/widgets/rows.html"

    def __init__(self, row: type[Row], label: Any) -> None:
        super().__init__()
        self.row = row
        self.label = label

    def value_from_datadict(self, data: Any, files: Any, name: str) -> PostedRows:
        pattern = re.compile(rf"{re.escape(name)}-(\d{{1,9}})-(\w+)")
        rows: dict[int, dict[str, Any]] = {}
        for key in data:
            if found := pattern.fullmatch(key):
                rows.setdefault(int(found[1]), {})[found[2]] = data[key]
        return PostedRows(rows[index] for index in sorted(rows))

    def value_omitted_from_data(self, data: Any, files: Any, name: str) -> bool:
        return False  # without a row it is an empty list

    def get_context(self, name: str, value: Any, attrs: dict[str, Any] | None) -> dict[str, Any]:
        context = super().get_context(name, value, attrs)
        blank = self.row(prefix=f"{name}-__row__")
        context["widget"] |= {"label": self.label, "row": self.row}
        context["widget"] |= {"rows": row_forms(self.row, name, value), "blank": blank}
        return context

    def render(self, name: str, value: Any, attrs: Any = None, renderer: Any = None) -> Any:
        # Form renderers search the folders of apps only; this template is in the site's.
        return render_to_string(self.template_name, self.get_context(name, value, attrs))

    def id_for_label(self, id_: str) -> str:
        return ""  # a group of controls has no single one to label


class RowsField(forms.Field):
    def __init__(self, row: type[Row], *, label: Any) -> None:
        super().__init__(required=False, widget=RowsWidget(row, label), label=label)
        self.row = row

    def clean(self, value: Any) -> list[dict[str, Any]]:
        """The records as JSON, without empty rows. Raises ValidationError; the rows show the details."""
        if not isinstance(value, PostedRows) or len(value) > MAX_ROWS:
            raise ValidationError(_("At most %(max)s rows."), params={"max": MAX_ROWS})
        rows = row_forms(self.row, "row", value)
        if not all(row.is_valid() for row in rows):
            raise ValidationError(_("Correct the marked rows."))
        return [row.to_json() for row in rows if row.has_changed()]

    def has_changed(self, initial: Any, data: Any) -> bool:
        try:
            return bool((initial or []) != self.clean(data))
        except ValidationError:
            return True
