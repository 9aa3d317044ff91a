"""How moments are written."""

from __future__ import annotations

from datetime import datetime

from django.utils.html import format_html
from django.utils.safestring import SafeString


def iso(moment: datetime | None) -> str | None:
    """As every time is shown: ISO 8601 in UTC, with a Z."""
    return moment.isoformat().replace("+00:00", "Z") if moment else None


def moment(at: datetime) -> SafeString:
    """For pages, in UTC; static/monitor/times.js turns it into that of the reader's clock."""
    return format_html('<time datetime="{}">{}</time>', at.isoformat(), f"{at:%Y-%m-%d %H:%M:%S}")
