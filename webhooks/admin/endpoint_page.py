"""What the page of one endpoint shows above its form."""

from __future__ import annotations

from typing import Any

from django.utils import timezone
from django.utils.translation import gettext as _

from core.secrets import MASK, SecretUnreadableError
from programs.admin.history import NOTHING, value_text
from programs.forms.fields import seconds_text
from programs.models import Program
from webhooks import selectors, transports
from webhooks.health import health_of
from webhooks.models import WebhookEndpoint

from . import field_labels
from .columns import format_label, pending_text, share_text, slowest_text
from .delivery import rows_of
from .endpoint_status import current_mutes, mute_of_all, shown
from .form import GROUPS
from .health_strip import strip

LATEST = 20


def context(endpoint: WebhookEndpoint) -> dict[str, Any]:
    """Everything the page needs, in a fixed number of queries."""
    now = timezone.now()
    health = health_of(endpoint, now)
    mutes = selectors.current_mutes(now).filter(endpoint=endpoint)
    return {
        "endpoint": endpoint,
        "shown": shown(endpoint, health, mute_of_all(endpoint, current_mutes(now), now)),
        "format_label": format_label(endpoint.format),
        "address": masked_address(endpoint),
        "health": health,
        "share": share_text(health),
        "slowest": slowest_text(health),
        "waiting": pending_text(health),
        "strip": strip(health.strip),
        "mutes": list(mutes),
        "is_signed": is_signed(endpoint),
        "old_secret_works": bool(endpoint.old_secret_until and endpoint.old_secret_until > now),
        "deliveries": rows_of(selectors.deliveries_with_attempts().filter(endpoint=endpoint)[:LATEST]),
    }


def is_signed(endpoint: WebhookEndpoint) -> bool:
    return endpoint.format in transports.kinds() and transports.get(endpoint.format).is_signed


def masked_address(endpoint: WebhookEndpoint) -> str:
    try:
        url = endpoint.url
    except SecretUnreadableError:
        return _("cannot be read with the present keys: set it again")
    return transports.get(endpoint.format).masked(url) if endpoint.format in transports.kinds() else MASK


def settings_shown(endpoint: WebhookEndpoint) -> list[dict[str, Any]]:
    """The settings in groups of label and value, for people who may not change them. Secrets are masked."""
    fields = {"target": _target, "programs": _programs, "format": lambda row: format_label(row.format)}
    fields |= {"ca_certificates": _certificates, "retry_schedule": _schedule, "max_age_seconds": _max_age}
    groups = []
    for name, names in GROUPS:
        rows = [
            (field_labels.LABELS[field], fields.get(field, _plain(field))(endpoint))
            for field in names
            if field in field_labels.LABELS and field != "enabled"
        ]
        groups.append({"name": name, "rows": rows})
    return groups


def _plain(field: str) -> Any:
    return lambda endpoint: value_text(getattr(endpoint, field))


def _target(endpoint: WebhookEndpoint) -> str:
    lines = [masked_address(endpoint)]
    try:
        stored = endpoint.settings
    except SecretUnreadableError:
        return lines[0]
    transport = transports.get(endpoint.format) if endpoint.format in transports.kinds() else None
    hidden = transport.secret_fields() if transport else stored.keys()
    titles = transport.schema().get("properties", {}) if transport else {}
    for name, value in stored.items():
        if value not in ("", None, False):
            label = titles.get(name, {}).get("title", name)
            lines.append(f"{label}: {MASK if name in hidden else value_text(value)}")
    return "\n".join(lines)


def _programs(endpoint: WebhookEndpoint) -> str:
    if not endpoint.programs:
        return _("all")
    names = Program.objects.filter(pk__in=endpoint.programs).order_by("name").values_list("name", flat=True)
    return ", ".join(names) or NOTHING


def _certificates(endpoint: WebhookEndpoint) -> str:
    return _("given") if endpoint.ca_certificates else NOTHING


def _schedule(endpoint: WebhookEndpoint) -> str:
    return ", ".join(map(seconds_text, endpoint.retry_schedule)) or NOTHING


def _max_age(endpoint: WebhookEndpoint) -> str:
    return seconds_text(endpoint.max_age_seconds) if endpoint.max_age_seconds else NOTHING
