"""The history page of a program: who changed what and when."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from django.core.paginator import Page, Paginator
from django.utils.translation import gettext as _

from core.secrets import MASK
from programs.definition.fields import applies
from programs.definition.values import SET
from programs.forms.field_labels import LABELS
from programs.models import Program, ProgramRevision

NOTHING = "—"
PER_PAGE = 25


def page(program: Program, number: Any) -> tuple[Page[ProgramRevision], list[dict[str, Any]]]:
    found = Paginator(program.revisions.all(), PER_PAGE).get_page(number)
    return found, [{"revision": revision, "rows": list(rows(revision))} for revision in found]


def rows(revision: ProgramRevision) -> Iterator[dict[str, Any]]:
    """One row per changed field. Secrets were masked when the revision was stored."""
    for field, (before, after) in sorted(revision.changes.items()):
        yield {
            "label": label(field),
            "before": value_text(before),
            "after": value_text(after),
            "applies": applies(field),
        }


def label(field: str) -> str:
    return str(LABELS.get(field) or field.replace("_", " ").capitalize())


def value_text(value: Any) -> str:
    """A JSON value as text: a list of texts on one line, a list of objects with one line each."""
    if value is None or value in ("", []):
        return NOTHING
    if value == SET:
        return MASK
    if isinstance(value, list):
        return ("\n" if isinstance(value[0], dict) else ", ").join(map(value_text, value))
    if isinstance(value, dict):
        return _record_text(value)
    if isinstance(value, bool):
        return _("yes") if value else _("no")
    return f"{value:g}" if isinstance(value, float) else str(value)


def _record_text(record: dict[str, Any]) -> str:
    shown = {key: value_text(value) for key, value in record.items()}
    text = next((text for key, text in _RECORDS.items() if key in record), None)
    if text is None:
        return ", ".join(f"{key} {value}" for key, value in shown.items())
    return text.format_map(defaultdict(lambda: NOTHING, shown))


# By a key that only this kind of object has.
_RECORDS = {
    "name": "{name}={value}",
    "step": "{step} ({seconds} s)",
    "program": "{program} ({condition})",
    "kind": "{purpose}: {kind} {target} (every {period} s, timeout {timeout} s, {failures} failures)",
}
