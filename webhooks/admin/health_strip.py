"""The last 24 hours of an endpoint as 24 little columns, drawn by the server: no script, no inline style."""

from __future__ import annotations

from collections.abc import Sequence

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from webhooks.health import Hour

HEIGHT = 28
STEP = 5
WIDTH = 4
LEAST = 3  # pixels, so that a single failure among thousands can be seen
PARTS = ("delivered", "pending", "cancelled", "failed")  # from the bottom up


def strip(hours: Sequence[Hour]) -> SafeString:
    most = max((_total(hour) for hour in hours), default=0)
    columns = format_html_join(
        "", "{}", ((_column(hour, place * STEP, most),) for place, hour in enumerate(hours))
    )
    return format_html(
        '<svg class="strip" viewBox="0 0 {} {}" width="{}" height="{}" role="img" aria-label="{}">{}</svg>',
        *(len(hours) * STEP, HEIGHT, len(hours) * STEP, HEIGHT),
        _said(hours),
        columns,
    )


def _column(hour: Hour, x: int, most: int) -> SafeString:
    y, rects = HEIGHT, []
    for part in PARTS:
        if count := getattr(hour, part):
            height = min(max(LEAST, round(count / most * HEIGHT)), y)
            y -= height
            rects.append((part, x, y, WIDTH, height))
    if not rects:
        rects.append(("nothing", x, HEIGHT - 1, WIDTH, 1))
    drawn = format_html_join("", '<rect class="strip-{}" x="{}" y="{}" width="{}" height="{}"/>', rects)
    # The whole column answers to the pointer, also where nothing is drawn.
    ground = format_html('<rect class="strip-ground" x="{}" y="0" width="{}" height="{}"/>', x, STEP, HEIGHT)
    return format_html("<g><title>{}</title>{}{}</g>", f"{hour.start:%H:%M} UTC: {_counts(hour)}", ground, drawn)


def _total(hour: Hour) -> int:
    return sum(getattr(hour, part) for part in PARTS)


def _counts(hour: Hour) -> str:
    found = [f"{count} {_(part)}" for part in PARTS if (count := getattr(hour, part))]
    return ", ".join(found) or _("nothing")


def _said(hours: Sequence[Hour]) -> str:
    """All of it in a sentence, for those who do not see it."""
    sums = {part: sum(getattr(hour, part) for hour in hours) for part in PARTS}
    found = [f"{count} {_(part)}" for part, count in sums.items() if count]
    return _("Last 24 hours: %s") % (", ".join(found) or _("nothing"))
