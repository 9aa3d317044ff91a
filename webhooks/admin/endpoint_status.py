"""How an endpoint is, for people: one word with a tone, and the reason beside it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime

from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from core.timeformat import time_element
from programs.admin.events import badge
from webhooks import selectors
from webhooks.health import Condition, EndpointHealth
from webhooks.models import WebhookEndpoint
from webhooks.outbox import writer
from webhooks.outbox.matching import Mute, silenced_by


@dataclass(frozen=True)
class Shown:
    """`tone` is one of the badges': good, warning, error, or empty. `words` may hold markup of ours."""

    name: str
    tone: str
    words: str | SafeString = ""

    @property
    def badge(self) -> SafeString:
        return badge(self.tone, self.name)


Word = Callable[[WebhookEndpoint, EndpointHealth], Shown]


def shown(endpoint: WebhookEndpoint, health: EndpointHealth, mute: Mute | None) -> Shown:
    """The worst that is true of it; `mute` is the one that silences it as a whole now."""
    if mute and health.condition is not Condition.OFF:
        return Shown(_("muted"), "warning", _mute_words(mute))
    return WORDS[health.condition](endpoint, health)


def current_mutes(now: datetime) -> list[Mute]:
    return [writer.mute_of(row) for row in selectors.current_mutes(now)]


def mute_of_all(endpoint: WebhookEndpoint, mutes: Iterable[Mute], now: datetime) -> Mute | None:
    """What silences `endpoint` about everything, not about one program only."""
    return silenced_by(mutes, endpoint.pk, None, now)


def _mute_words(mute: Mute) -> SafeString | str:
    if mute.ends_at and not mute.cron:
        return format_html("{} {} {}", _("until"), time_element(mute.ends_at), mute.reason)
    return mute.reason or (_("maintenance window") if mute.cron else _("until somebody lifts it"))


def _off(endpoint: WebhookEndpoint, health: EndpointHealth) -> Shown:
    if health.disabled_reason:
        return Shown(_("disabled automatically"), "error", health.disabled_reason)
    return Shown(_("off"), "")


def _open(endpoint: WebhookEndpoint, health: EndpointHealth) -> Shown:
    return Shown(_("paused"), "error", _("cannot be reached, one try a minute: %s") % health.last_error)


def _waiting(endpoint: WebhookEndpoint, health: EndpointHealth) -> Shown:
    until = health.paused_until or timezone.now()
    return Shown(
        _("waiting"), "warning", format_html("{} {}", _("the receiver asked for it, until"), time_element(until))
    )


def _failing(endpoint: WebhookEndpoint, health: EndpointHealth) -> Shown:
    return Shown(_("failing"), "error", health.last_error)


WORDS: dict[Condition, Word] = {
    Condition.OFF: _off,
    Condition.OPEN: _open,
    Condition.WAITING: _waiting,
    Condition.FAILING: _failing,
    Condition.IDLE: lambda endpoint, health: Shown(_("on"), "", _("nothing sent yet")),
    Condition.OK: lambda endpoint, health: Shown(_("on"), "good"),
}
