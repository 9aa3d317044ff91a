"""What would be sent: rendered with a real event or a made-up one, and not sent."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django.core.exceptions import ValidationError
from django.utils import timezone

from core.http import Policy, RefusedError, check_url
from programs.models import ProgramEvent

from . import transports
from .outbox import payload
from .selectors import last_event
from .transports import NOWHERE, TemplateError
from .transports.base import SettingsError

SAMPLE = {
    "pid": 4711,
    "exit_code": 1,
    "exit_signal": None,
    "meaning": "Exit code 1: it ended with an error",
    "out_of_memory": False,
    "uptime_seconds": 4.2,
}
SAMPLE_LOG = ["Connecting to db:5432 …", "ERROR could not connect: connection refused"]

Preview = dict[str, Any]


def preview(
    kind: str, settings: Mapping[str, Any], *, url: str = "", event: ProgramEvent | None = None
) -> Preview:
    """`{"event": {"id", "type"}, "sample", "signed", "request": {"method", "url", "headers", "body"}}`.

    Without an `event` the last one of a program is told, and where there is none a made-up crash, which `sample`
    says. Secrets are blanked. Raises ValidationError, with the name of the field that cannot be used.
    """
    if url:
        _check_address(kind, url)
    event = event or last_event()
    body = payload.build_one(event) if event else sample_body(timezone.now())
    try:
        request = transports.preview(kind, settings, body, url or NOWHERE)
    except transports.UnknownKindError as error:
        raise ValidationError({"format": str(error)}) from error
    except (TemplateError, SettingsError) as error:
        raise ValidationError({"settings": str(error)}) from error
    return {
        "event": {"id": body["id"], "type": body["type"]},
        "sample": event is None,
        "signed": transports.get(kind).is_signed,
        "request": request,
    }


def _check_address(kind: str, url: str) -> None:
    """Raises ValidationError for what cannot be dialled. What stands in a URL of Apprise, only Apprise knows."""
    if kind in transports.kinds() and transports.get(kind).dials_itself:
        return
    try:
        check_url(url, Policy.from_settings())
    except RefusedError as error:
        raise ValidationError({"url": str(error)}) from error


def sample_body(now: datetime) -> payload.Body:
    """A crash of a program that does not exist."""
    event = ProgramEvent(
        seq=0,
        type="program.crashed",
        severity=ProgramEvent.Severity.ERROR,
        program_name="example",
        process_index=0,
        timestamp=now,
        actor="agent",
        data=SAMPLE,
    )
    body = payload.build_one(event)
    body["data"]["process"] |= {"restarts_last_hour": 2, "log_lines": SAMPLE_LOG}
    return body
