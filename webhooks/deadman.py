"""The monitor's own sign of life: it pings a URL while all of it works, so that its silence is noticed elsewhere.

The agent asks for each ping in the database and a job sends it: no ping comes when the agent, the database or the
job cluster stands still. Made for services such as Healthchecks; a plain GET is all they need.
"""

from __future__ import annotations

import structlog
from django.conf import settings
from django.utils import timezone

from core import http
from core.http import OutgoingRequest, RefusedError, TransportError
from core.models import Heartbeat
from programs.hosts import default_heartbeat, is_alive

log = structlog.get_logger(__name__)
HEARTBEAT = "deadman"  # when a ping was last taken
DEADLINE = 10.0


def is_well() -> bool:
    """Whether the agent still writes what it sees. That this is being run proves the rest."""
    return is_alive(default_heartbeat(), timezone.now())


async def ping() -> bool:
    """Whether it arrived. A ping that did not is not repeated: the next one comes soon enough."""
    try:
        async with http.Client() as client:  # loaded here: the doctor of every process imports this module
            answer = await client.send(OutgoingRequest("GET", settings.DEADMAN_URL), deadline=DEADLINE)
    except (RefusedError, TransportError) as error:
        log.warning("deadman.not_pinged", error=str(error))
        return False
    if not 200 <= answer.status < 300:
        log.warning("deadman.not_taken", status=answer.status)
        return False
    return True


def note() -> None:
    Heartbeat.objects.update_or_create(name=HEARTBEAT, defaults={"at": timezone.now()})
