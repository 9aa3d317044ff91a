"""Dead man's switch: pings DEADMAN_URL while everything works, so that a service elsewhere notices an outage.

The agent queues each ping in the database and a job sends it: pings stop if the agent, the database or the job
cluster fails. Made for services such as Healthchecks; a plain GET is all they need.
"""

from __future__ import annotations

from typing import Any

import structlog
from django.conf import settings
from django.core.checks import CheckMessage, Error, register
from django.utils import timezone

from core import http
from core.http import NETWORKS, OutgoingRequest, Policy, RefusedError, TransportError, check_url
from core.models import Heartbeat
from programs.hosts import default_heartbeat, is_alive

log = structlog.get_logger(__name__)
HEARTBEAT_NAME = "deadman"  # its timestamp is that of the last successful ping
TIMEOUT = 10.0
MAX_INTERVAL = 86_400


def is_healthy() -> bool:
    # Only the agent's heartbeat: that this job runs proves that database and jobs work.
    return is_alive(default_heartbeat(), timezone.now())


async def ping() -> bool:
    # A failed ping is not retried: the next one follows soon.
    try:
        async with http.Client() as client:  # imported lazily: every process loads this module
            response = await client.send(OutgoingRequest("GET", settings.DEADMAN_URL), deadline=TIMEOUT)
    except (RefusedError, TransportError) as error:
        log.warning("deadman.ping_failed", error=str(error))
        return False
    if not 200 <= response.status < 300:
        log.warning("deadman.ping_rejected", status=response.status)
        return False
    return True


def record_ping() -> None:
    Heartbeat.objects.update_or_create(name=HEARTBEAT_NAME, defaults={"at": timezone.now()})


@register
def check_settings(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """System check: a URL or interval that cannot work would otherwise be noticed only during an outage."""
    if not settings.DEADMAN_URL:
        return []
    found: list[CheckMessage] = []
    if not 1 <= settings.DEADMAN_SECONDS <= MAX_INTERVAL:
        message = f"DEADMAN_SECONDS is {settings.DEADMAN_SECONDS:g}; it must be between 1 and {MAX_INTERVAL}."
        found.append(Error(message, id="webhooks.E002"))
    if settings.WEBHOOK_NETWORK in NETWORKS and (error := _url_error(settings.DEADMAN_URL)):
        found.append(Error(f"DEADMAN_URL cannot be used: {error}", id="webhooks.E001"))
    return found


def _url_error(url: str) -> str:
    try:
        check_url(url, Policy.from_settings())
    except RefusedError as error:
        return str(error)
    return ""
