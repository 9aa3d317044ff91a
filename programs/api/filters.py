"""Filters shared by routes."""

from __future__ import annotations

from django.db.models import Q


def type_filter(text: str, column: str) -> Q:
    """A filter for event types such as `program.crashed,alert.*`."""
    types = [type_.strip() for type_ in text.split(",") if type_.strip()]
    prefixes = [type_[:-1] for type_ in types if type_.endswith(".*")]
    condition = Q(**{f"{column}__in": [type_ for type_ in types if not type_.endswith(".*")]}) if types else Q()
    for prefix in prefixes:
        condition |= Q(**{f"{column}__startswith": prefix})
    return condition
