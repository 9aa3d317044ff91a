"""Previews: the request that would be sent for a real event or a sample. Nothing is sent."""

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
from .transports import EXAMPLE_URL, TemplateError
from .transports.base import SettingsError

SAMPLE = {
    "pid": 4711,
    "exit_code": 1,
    "exit_signal": None,
    "meaning": "Exit code 1: exited with an error",
    "out_of_memory": False,
    "uptime_seconds": 4.2,
}
SAMPLE_LOG_LINES = ["Connecting to db:5432 …", "ERROR could not connect: connection refused"]

PreviewJson = dict[str, Any]


def preview(
    kind: str, settings: Mapping[str, Any], *, url: str = "", event: ProgramEvent | None = None
) -> PreviewJson:
    """`{"event": {"id", "type"}, "sample", "signed", "request": {"method", "url", "headers", "body"}}`.

    Without `event` it shows the last event of a program, or a sample crash if there is none (`sample` is True).
    Secrets are masked. Raises ValidationError with the name of the invalid field.
    """
    if url:
        _check_url(kind, url)
    event = event or last_event()
    body = payload.build_one(event) if event else sample_body(timezone.now())
    try:
        request = transports.preview(kind, settings, body, url or EXAMPLE_URL)
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


def _check_url(kind: str, url: str) -> None:
    # Only Apprise itself understands its URLs.
    if kind in transports.kinds() and transports.get(kind).uses_own_client:
        return
    try:
        check_url(url, Policy.from_settings())
    except RefusedError as error:
        raise ValidationError({"url": str(error)}) from error


def sample_body(now: datetime) -> payload.Body:
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
    body["data"]["process"] |= {"restarts_last_hour": 2, "log_lines": SAMPLE_LOG_LINES}
    return body
