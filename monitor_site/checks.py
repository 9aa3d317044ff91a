"""System checks of the settings; each mistake has an id and a hint."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, register

from core.http import NETWORKS
from core.public_url import is_public_url

from .environment import LOOPBACK_HOSTS, bind_parts


@register
def bind_address(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    try:
        host, _ = bind_parts(settings.BIND)
    except ValueError as error:
        return [Error(str(error), id="monitor.E001")]
    is_loopback = host in {"localhost", "127.0.0.1", "::1"}
    if not is_loopback and set(settings.ALLOWED_HOSTS) <= set(LOOPBACK_HOSTS):
        return [
            Error(
                f"BIND listens on {host}, but ALLOWED_HOSTS contains only loopback names.",
                hint="Set ALLOWED_HOSTS to the names that browsers use, for example ALLOWED_HOSTS=nas.lan",
                id="monitor.E002",
            )
        ]
    return []


@register
def job_queue(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    # A job must not be fetched again while its first run may still be alive.
    q = settings.Q_CLUSTER
    rounds = 1 + -(-(q["queue_limit"] + 1) // q["workers"])
    found: list[CheckMessage] = []
    if q["retry"] < q["timeout"] * rounds + 30:
        found.append(Error("Q_CLUSTER: retry is too short for its timeout and queue_limit.", id="monitor.E003"))
    if not isinstance(q["timeout"], int) or (q["timeout"] + 3) % q["guard_cycle"]:
        found.append(
            Error(
                "Q_CLUSTER: timeout must be an integer and (timeout + 3) a multiple of guard_cycle.",
                id="monitor.E004",
            )
        )
    return found


@register
def log_format(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    if settings.LOG_FORMAT in {"console", "json"}:
        return []
    return [Error(f"LOG_FORMAT is {settings.LOG_FORMAT!r}; use console or json.", id="monitor.E005")]


@register
def replica(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    engines = {database["ENGINE"] for database in settings.DATABASES.values()}
    if not settings.REPLICA or engines == {"django.db.backends.postgresql"}:
        return []
    hint = "Set both to PostgreSQL, or remove DATABASE_REPLICA_URL."
    return [Error("DATABASE_REPLICA_URL needs PostgreSQL in DATABASE_URL too.", hint=hint, id="monitor.E007")]


@register
def webhook_network(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    if settings.WEBHOOK_NETWORK in NETWORKS:
        return []
    known = ", ".join(NETWORKS)
    return [Error(f"WEBHOOK_NETWORK is {settings.WEBHOOK_NETWORK!r}; use one of {known}.", id="monitor.E006")]


@register
def public_address(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    if not settings.PUBLIC_URL or is_public_url(settings.PUBLIC_URL):
        return []
    # Not the value: it may hold a password.
    return [
        Error(
            "PUBLIC_URL is not an address that links can start with.",
            hint="Write http:// or https://, a host and perhaps a path, for example https://monitor.example.com",
            id="monitor.E007",
        )
    ]
