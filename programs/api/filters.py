"""Words of a query as conditions on a column."""

from __future__ import annotations

from django.db.models import Q


def of_types(text: str, column: str) -> Q:
    """`program.crashed,alert.*` as a condition."""
    words = [word.strip() for word in text.split(",") if word.strip()]
    areas = [word[:-1] for word in words if word.endswith(".*")]
    wanted = Q(**{f"{column}__in": [word for word in words if not word.endswith(".*")]}) if words else Q()
    for area in areas:
        wanted |= Q(**{f"{column}__startswith": area})
    return wanted
