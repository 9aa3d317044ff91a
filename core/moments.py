"""How moments are written."""

from __future__ import annotations

from datetime import datetime


def iso(moment: datetime | None) -> str | None:
    """As every time is shown: ISO 8601 in UTC, with a Z."""
    return moment.isoformat().replace("+00:00", "Z") if moment else None
