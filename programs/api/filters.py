"""Query parameters as database conditions."""

from __future__ import annotations

from django.db.models import Q


def type_filter(text: str, column: str) -> Q:
    types = [part.strip() for part in text.split(",") if part.strip()]
    areas = [part[:-1] for part in types if part.endswith(".*")]
    condition = Q(**{f"{column}__in": [part for part in types if not part.endswith(".*")]}) if types else Q()
    for area in areas:
        condition |= Q(**{f"{column}__startswith": area})
    return condition
