"""Makes endpoints and events in the measured monitor's database, as its web part and agent do."""

from __future__ import annotations

import time
from typing import Any

from django.db import transaction
from django.db.models import Count, Max, Min

from bench.clients.line_loop import answer_all
from programs import events, services
from programs.models import Program, ProgramEvent
from webhooks import services as webhooks
from webhooks.models import WebhookAttempt, WebhookDelivery, WebhookEndpoint
from webhooks.outbox import payload
from webhooks.transports.base import json_bytes

ACTOR = "bench"
DATA = {"pid": 4711, "exit_code": 1, "meaning": "it ended by itself with code 1", "uptime_seconds": 12.5}


def program() -> Program:
    return (
        Program.objects.first()
        or services.save_definition(
            {"name": "worker", "command": "sleep 9", "autostart": False}, actor=ACTOR
        ).program
    )


def define(urls: dict[str, str], values: dict[str, Any]) -> None:
    """Endpoints by name, in place of those there are."""
    for old in WebhookEndpoint.objects.all():
        webhooks.remove_endpoint(old, actor=ACTOR)
    for name, url in urls.items():
        webhooks.save_endpoint({"name": name, "url": url, "events": ["program.exited"], **values}, actor=ACTOR)


def happen(count: int = 1) -> dict[str, Any]:
    """That many events in one transaction; when it began (monotonic), and their ids."""
    about = program()
    began = time.monotonic()
    with transaction.atomic():
        made = [events.record("program.exited", program=about, process_index=0, data=DATA) for _ in range(count)]
    return {"began": began, "events": [event.uid for event in made]}


def steady(count: int, every: float) -> dict[str, Any]:
    """An event each `every` seconds."""
    told = []
    due = time.monotonic()
    for _ in range(count):
        time.sleep(max(0.0, due - time.monotonic()))
        told.append(happen())
        due += every
    return {"told": [(each["began"], each["events"][0]) for each in told]}


def newest_bodies(count: int) -> dict[str, Any]:
    """What is posted of the newest events, as text."""
    found = ProgramEvent.objects.filter(type="program.exited").select_related("program__host").order_by("-pk")
    return {"bodies": [json_bytes(body).decode() for body in payload.build(found[:count]).values()]}


def tally() -> dict[str, Any]:
    """What is kept of the deliveries so far."""
    states = WebhookDelivery.objects.values("state").annotate(count=Count("pk"))
    noted = WebhookDelivery.objects.filter(state="delivered").aggregate(last=Max("finished_at"))["last"]
    tries = WebhookAttempt.objects.aggregate(count=Count("pk"), first=Min("started_at"))
    span = (noted - tries["first"]).total_seconds() if noted and tries["first"] else 0.0
    return {"states": {row["state"]: row["count"] for row in states}, "attempts": tries["count"], "seconds": span}


def main() -> None:
    answer_all({verb.__name__: verb for verb in (define, happen, steady, newest_bodies, tally)})
