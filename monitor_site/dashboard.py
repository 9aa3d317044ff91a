"""What every page of the admin says beside its own content: which machine this is, and how many need a look."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.http import HttpRequest

from programs.models import Process
from programs.states import State


def environment(request: HttpRequest) -> list[str]:
    """The badge in the header: the name of this host."""
    return [settings.HOST_NAME, "info"]


def troubled(request: HttpRequest) -> str:
    """The badge beside Programs: how many have given up. Empty when none has."""
    count = (
        Process.objects.filter(state=State.FATAL, program__removed_at=None).values("program").distinct().count()
    )
    return str(count) if count else ""


def counters(request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    """For the front page."""
    return context
