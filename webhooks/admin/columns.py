"""The columns of the list of endpoints."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any, Protocol

from django.contrib import admin
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _
from unfold.views import ChangeList

from programs.formatting import duration_text
from webhooks import transports
from webhooks.health import EndpointHealth, health_of_many
from webhooks.models import WebhookEndpoint

from .endpoint_status import Shown, current_mutes, mute_of_all, shown
from .health_strip import strip

NOTHING = "—"


class Row(Protocol):
    """An endpoint of the list with what was put beside it."""

    pk: Any
    name: str
    format: str
    health: EndpointHealth
    shown: Shown


class HealthChangeList(ChangeList):
    """Gives each row its health and state: four queries for all of them."""

    has_endpoints: bool

    def get_results(self, request: Any) -> None:
        super().get_results(request)
        put_health(self.result_list, timezone.now())
        self.has_endpoints = bool(self.result_list) or WebhookEndpoint.objects.exists()


def put_health(endpoints: Iterable[Any], now: datetime) -> None:
    """Sets `health` and `shown` on each."""
    found, mutes = health_of_many(endpoints, now), current_mutes(now)
    for endpoint in endpoints:
        endpoint.health = found[endpoint.pk]
        endpoint.shown = shown(endpoint, endpoint.health, mute_of_all(endpoint, mutes, now))


def format_label(kind: str) -> str:
    """The stored name itself for a format that is not installed any more."""
    return transports.get(kind).label if kind in transports.kinds() else kind


def share_text(health: EndpointHealth) -> str:
    ratio = health.success_ratio
    if ratio is None:
        return NOTHING
    # 99.96 % is not all of it.
    return "100 %" if ratio == 1 else f"{min(ratio * 100, 99.9):.1f} %"


def slowest_text(health: EndpointHealth) -> str:
    milliseconds = health.duration_ms_p95
    if milliseconds is None:
        return NOTHING
    return f"{milliseconds} ms" if milliseconds < 1000 else f"{milliseconds / 1000:.1f} s"


def pending_text(health: EndpointHealth) -> str:
    if health.oldest_pending_seconds is None:
        return NOTHING
    return f"{health.counts['pending']}, {duration_text(health.oldest_pending_seconds)}"


class EndpointColumns:
    """Display methods; none of them asks the database."""

    @admin.display(description=_("Name"), ordering="name")
    def title(self, row: Row) -> SafeString:
        about = format_html('<span class="badge format-badge">{}</span>', format_label(row.format))
        return format_html('<span class="program-name">{}</span> {}', row.name, about)

    @admin.display(description=_("State"))
    def state(self, row: Row) -> SafeString:
        return format_html('{} <span class="reason-line">{}</span>', row.shown.badge, row.shown.words)

    @admin.display(description=_("Delivered"))
    def share(self, row: Row) -> str:
        return share_text(row.health)

    @admin.display(description=_("95 % within"))
    def slowest(self, row: Row) -> str:
        return slowest_text(row.health)

    @admin.display(description=_("Waiting, oldest for"))
    def waiting(self, row: Row) -> str:
        return pending_text(row.health)

    @admin.display(description=_("Last 24 hours"))
    def hours(self, row: Row) -> SafeString:
        return strip(row.health.strip)
