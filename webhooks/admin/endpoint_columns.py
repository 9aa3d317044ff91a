"""How the admin shows the health of endpoints: status badge, chart of 24 hours, columns of the list."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from django.contrib import admin
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from unfold.views import ChangeList

from core.timeformat import time_element
from programs.admin.events import badge
from programs.formatting import duration_text
from webhooks import selectors, transports
from webhooks.health import EndpointCondition, EndpointHealth, HourCounts, health_of_many
from webhooks.models import WebhookEndpoint
from webhooks.outbox import writer
from webhooks.outbox.matching import MuteRule, active_mute

NOTHING = "—"

# --- Status ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class StatusBadge:
    """`tone`: good, warning, error or empty. `words`: the reason, possibly with markup of ours."""

    name: str
    tone: str
    words: str | SafeString = ""

    @property
    def badge(self) -> SafeString:
        return badge(self.tone, self.name)


def status_badge(endpoint: WebhookEndpoint, health: EndpointHealth, mute: MuteRule | None) -> StatusBadge:
    """`mute` is the active mute for all programs, if any."""
    if mute and health.condition is not EndpointCondition.OFF:
        return StatusBadge(_("muted"), "warning", _mute_text(mute))
    return BADGES[health.condition](endpoint, health)


def current_mutes(now: datetime) -> list[MuteRule]:
    return [writer.mute_rule(row) for row in selectors.current_mutes(now)]


def mute_for_all_programs(endpoint: WebhookEndpoint, mutes: Iterable[MuteRule], now: datetime) -> MuteRule | None:
    return active_mute(mutes, endpoint.pk, None, now)


def _mute_text(mute: MuteRule) -> SafeString | str:
    if mute.ends_at and not mute.cron:
        return format_html("{} {} {}", _("until"), time_element(mute.ends_at), mute.reason)
    return mute.reason or (_("maintenance window") if mute.cron else _("until the mute is removed"))


def _off(endpoint: WebhookEndpoint, health: EndpointHealth) -> StatusBadge:
    if health.disabled_reason:
        return StatusBadge(_("disabled automatically"), "error", health.disabled_reason)
    return StatusBadge(_("disabled"), "")


def _open(endpoint: WebhookEndpoint, health: EndpointHealth) -> StatusBadge:
    return StatusBadge(_("paused"), "error", _("unreachable, one probe a minute: %s") % health.last_error)


def _waiting(endpoint: WebhookEndpoint, health: EndpointHealth) -> StatusBadge:
    until = health.paused_until or timezone.now()
    return StatusBadge(
        _("waiting"), "warning", format_html("{} {}", _("the receiver asked to wait until"), time_element(until))
    )


def _failing(endpoint: WebhookEndpoint, health: EndpointHealth) -> StatusBadge:
    return StatusBadge(_("failing"), "error", health.last_error)


BADGES: dict[EndpointCondition, Callable[[WebhookEndpoint, EndpointHealth], StatusBadge]] = {
    EndpointCondition.OFF: _off,
    EndpointCondition.OPEN: _open,
    EndpointCondition.WAITING: _waiting,
    EndpointCondition.FAILING: _failing,
    EndpointCondition.IDLE: lambda endpoint, health: StatusBadge(_("enabled"), "", _("nothing sent yet")),
    EndpointCondition.OK: lambda endpoint, health: StatusBadge(_("enabled"), "good"),
}

# --- Chart of the last 24 hours -------------------------------------------------------------------------

HEIGHT = 28
STEP = 5
WIDTH = 4
MIN_HEIGHT = 3  # pixels, so that a single failure among thousands is visible
PARTS = ("delivered", "pending", "cancelled", "failed")  # from the bottom up


def health_strip(hours: Sequence[HourCounts]) -> SafeString:
    # SVG attributes only: the content security policy forbids scripts and inline styles.
    highest = max((_total(hour) for hour in hours), default=0)
    bars = format_html_join("", "{}", ((_bar(hour, index * STEP, highest),) for index, hour in enumerate(hours)))
    return format_html(
        '<svg class="strip" viewBox="0 0 {} {}" width="{}" height="{}" role="img" aria-label="{}">{}</svg>',
        *(len(hours) * STEP, HEIGHT, len(hours) * STEP, HEIGHT),
        _summary(hours),
        bars,
    )


def _bar(hour: HourCounts, x: int, highest: int) -> SafeString:
    y, rects = HEIGHT, []
    for part in PARTS:
        if count := getattr(hour, part):
            height = min(max(MIN_HEIGHT, round(count / highest * HEIGHT)), y)
            y -= height
            rects.append((part, x, y, WIDTH, height))
    if not rects:
        rects.append(("nothing", x, HEIGHT - 1, WIDTH, 1))
    drawn = format_html_join("", '<rect class="strip-{}" x="{}" y="{}" width="{}" height="{}"/>', rects)
    # Shows the tooltip over the full height of the chart.
    hover_area = format_html('<rect class="strip-ground" x="{}" y="0" width="{}" height="{}"/>', x, STEP, HEIGHT)
    title = f"{hour.start:%H:%M} UTC: {_counts_text(hour)}"
    return format_html("<g><title>{}</title>{}{}</g>", title, hover_area, drawn)


def _total(hour: HourCounts) -> int:
    return sum(getattr(hour, part) for part in PARTS)


def _counts_text(hour: HourCounts) -> str:
    found = [f"{count} {_(part)}" for part in PARTS if (count := getattr(hour, part))]
    return ", ".join(found) or _("nothing")


def _summary(hours: Sequence[HourCounts]) -> str:
    sums = {part: sum(getattr(hour, part) for hour in hours) for part in PARTS}
    found = [f"{count} {_(part)}" for part, count in sums.items() if count]
    return _("Last 24 hours: %s") % (", ".join(found) or _("nothing"))


# --- Columns of the list --------------------------------------------------------------------------------


class EndpointRow(Protocol):
    """An endpoint of the list, with its health and badge."""

    pk: Any
    name: str
    format: str
    health: EndpointHealth
    status: StatusBadge


class HealthChangeList(ChangeList):
    has_endpoints: bool

    def get_results(self, request: Any) -> None:
        super().get_results(request)
        add_health(self.result_list, timezone.now())
        self.has_endpoints = bool(self.result_list) or WebhookEndpoint.objects.exists()


def add_health(endpoints: Iterable[Any], now: datetime) -> None:
    """Sets `health` and `status` on each endpoint: four queries for all of them."""
    found, mutes = health_of_many(endpoints, now), current_mutes(now)
    for endpoint in endpoints:
        endpoint.health = found[endpoint.pk]
        mute = mute_for_all_programs(endpoint, mutes, now)
        endpoint.status = status_badge(endpoint, endpoint.health, mute)


def format_label(kind: str) -> str:
    # The stored name itself if the format is no longer installed.
    return transports.get(kind).label if kind in transports.kinds() else kind


def success_ratio_text(health: EndpointHealth) -> str:
    ratio = health.success_ratio
    if ratio is None:
        return NOTHING
    # 99.96 % must not be rounded to 100 %.
    return "100 %" if ratio == 1 else f"{min(ratio * 100, 99.9):.1f} %"


def p95_text(health: EndpointHealth) -> str:
    milliseconds = health.duration_ms_p95
    if milliseconds is None:
        return NOTHING
    return f"{milliseconds} ms" if milliseconds < 1000 else f"{milliseconds / 1000:.1f} s"


def pending_text(health: EndpointHealth) -> str:
    if health.oldest_pending_seconds is None:
        return NOTHING
    return f"{health.counts['pending']}, {duration_text(health.oldest_pending_seconds)}"


class EndpointColumns:
    """Display methods. None of them queries the database. The style sheet knows their names."""

    @admin.display(description=gettext_lazy("Name"), ordering="name")
    def title(self, row: EndpointRow) -> SafeString:
        kind = format_html('<span class="badge format-badge">{}</span>', format_label(row.format))
        return format_html('<span class="program-name">{}</span> {}', row.name, kind)

    @admin.display(description=gettext_lazy("Status"))
    def state(self, row: EndpointRow) -> SafeString:
        return format_html('{} <span class="reason-line">{}</span>', row.status.badge, row.status.words)

    @admin.display(description=gettext_lazy("Success rate"))
    def share(self, row: EndpointRow) -> str:
        return success_ratio_text(row.health)

    @admin.display(description=gettext_lazy("p95 response time"))
    def slowest(self, row: EndpointRow) -> str:
        return p95_text(row.health)

    @admin.display(description=gettext_lazy("Pending, oldest"))
    def waiting(self, row: EndpointRow) -> str:
        return pending_text(row.health)

    @admin.display(description=gettext_lazy("Last 24 hours"))
    def hours(self, row: EndpointRow) -> SafeString:
        return health_strip(row.health.strip)
