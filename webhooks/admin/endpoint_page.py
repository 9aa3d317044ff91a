"""Template context of an endpoint's page: header, figures, mutes and latest deliveries."""

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
from .deliveries import table_rows
from .endpoint_columns import (
    current_mutes,
    format_label,
    health_strip,
    mute_for_all_programs,
    p95_text,
    pending_text,
    status_badge,
    success_ratio_text,
)
from .form import GROUPS

LATEST = 20


def context(endpoint: WebhookEndpoint) -> dict[str, Any]:
    now = timezone.now()
    health = health_of(endpoint, now)
    mutes = selectors.current_mutes(now).filter(endpoint=endpoint)
    return {
        "endpoint": endpoint,
        "shown": status_badge(endpoint, health, mute_for_all_programs(endpoint, current_mutes(now), now)),
        "format_label": format_label(endpoint.format),
        "address": masked_url(endpoint),
        "health": health,
        "share": success_ratio_text(health),
        "slowest": p95_text(health),
        "waiting": pending_text(health),
        "strip": health_strip(health.strip),
        "mutes": list(mutes),
        "is_signed": is_signed(endpoint),
        "old_secret_works": bool(endpoint.old_secret_until and endpoint.old_secret_until > now),
        "deliveries": table_rows(selectors.deliveries_with_attempts().filter(endpoint=endpoint)[:LATEST]),
    }


def is_signed(endpoint: WebhookEndpoint) -> bool:
    return endpoint.format in transports.kinds() and transports.get(endpoint.format).is_signed


def masked_url(endpoint: WebhookEndpoint) -> str:
    try:
        url = endpoint.url
    except SecretUnreadableError:
        return _("cannot be decrypted with the present keys: enter it again")
    return transports.get(endpoint.format).masked(url) if endpoint.format in transports.kinds() else MASK


def settings_shown(endpoint: WebhookEndpoint) -> list[dict[str, Any]]:
    """The settings as groups of labels and values, for people without the right to change them."""
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
    lines = [masked_url(endpoint)]
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
    return _("set") if endpoint.ca_certificates else NOTHING


def _schedule(endpoint: WebhookEndpoint) -> str:
    return ", ".join(map(seconds_text, endpoint.retry_schedule)) or NOTHING


def _max_age(endpoint: WebhookEndpoint) -> str:
    return seconds_text(endpoint.max_age_seconds) if endpoint.max_age_seconds else NOTHING
