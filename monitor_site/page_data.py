"""What the scripts in static/monitor/ need from the server: their texts, in the reader's language, and units.

templates/admin/base.html writes it into every page as JSON; static/monitor/page_data.js reads it.
"""

from __future__ import annotations

from typing import Any

from django.utils.translation import gettext_lazy as _

from metrics.admin import history
from programs import formatting
from programs.admin import live
from programs.descriptions.quantities import BYTE_UNITS

TEXTS: dict[str, Any] = {
    "connection.open": _("Live"),
    "connection.lost": _("Connection lost. Reconnecting…"),
    "connection.refused": _("No live updates. Reload the page."),
    "request.unreachable": _("The monitor does not respond. Check the connection and try again."),
    "request.logged_out": _("You are logged out. Reload the page to log in again."),
    "request.forbidden": _("You do not have permission for this. Ask an administrator."),
    "request.conflict": _("The state has changed in the meantime. Reload the page and try again."),
    "request.busy": _("The monitor is busy. Try again in %(seconds)s seconds."),
    "request.failed": _("The monitor could not do this (status %(status)s). Try again, then check its log."),
    "state.unknown": live.AGENT_LOST,
    "state.default_host": live.DEFAULT_HOST,
    "exit.signal": formatting.ENDED_BY_SIGNAL,
    "exit.code": formatting.EXIT_CODE,
    "program.removed": _("This program was removed."),
    "log.searching": _("Search results"),
    "log.matches": _("%(count)s lines contain “%(query)s”. Clear the search to resume."),
    "log.newest_matches": _("The newest %(count)s lines that contain “%(query)s”. Clear the search to resume."),
    "log.failed": _("Could not load the log: %(error)s"),
    "select.search": _("Search"),
    "sparkline.empty": history.NO_DATA,
    "sparkline.cpu": history.CPU_SUMMARY,
    "sparkline.memory": history.MEMORY_SUMMARY,
    "chart.loading": _("Loading…"),
    "chart.empty": _("No data in this period."),
    "chart.failed": _("Could not load the history: %(error)s"),
    "chart.average": _("average"),
    "chart.spread": _("from %(low)s to %(high)s"),
    "chart.highest": _("highest %(high)s"),
    "chart.interval": _("%(start)s to %(end)s"),
    "chart.constant": _("constant %(value)s"),
    "chart.summary": _("average %(average)s, highest %(highest)s at %(time)s"),
    "chart.events": _("Events in this period: %(events)s."),
    "chart.crashed": _("crashed"),
    "chart.gave_up": _("gave up"),
    "chart.restarted": _("restarted"),
}


def page_data() -> dict[str, Any]:
    """Texts as plain strings in the active language, byte units by power of 1024, `[seconds, unit]` pairs."""
    return {
        "texts": {key: str(text) for key, text in TEXTS.items()},
        "byte_units": BYTE_UNITS,
        "duration_units": formatting.DURATION_UNITS,
        "states_with_reason": sorted(live.ABNORMAL),
    }
