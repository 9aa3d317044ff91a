"""Creates endpoints and events in the measured monitor's database, as its web process and agent do."""

from __future__ import annotations

import time
from typing import Any

from django.db import transaction
from django.db.models import Count, Max, Min

from bench.helper_processes.json_lines import answer_requests
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


def define_endpoints(urls: dict[str, str], values: dict[str, Any]) -> None:
    """Replace all endpoints. `urls` maps names to URLs."""
    for old in WebhookEndpoint.objects.all():
        webhooks.remove_endpoint(old, actor=ACTOR)
    for name, url in urls.items():
        webhooks.save_endpoint({"name": name, "url": url, "events": ["program.exited"], **values}, actor=ACTOR)


def write_events(count: int = 1) -> dict[str, Any]:
    """Write events in one transaction. Returns the monotonic time before it, and the ids."""
    about = program()
    began = time.monotonic()
    with transaction.atomic():
        made = [events.record("program.exited", program=about, process_index=0, data=DATA) for _ in range(count)]
    return {"began": began, "events": [event.uid for event in made]}


def write_steadily(count: int, every: float) -> dict[str, Any]:
    """Write one event every `every` seconds."""
    written = []
    due = time.monotonic()
    for _ in range(count):
        time.sleep(max(0.0, due - time.monotonic()))
        written.append(write_events())
        due += every
    return {"written": [(each["began"], each["events"][0]) for each in written]}


def newest_bodies(count: int) -> dict[str, Any]:
    """The webhook bodies of the newest events, as text."""
    found = ProgramEvent.objects.filter(type="program.exited").select_related("program__host").order_by("-pk")
    return {"bodies": [json_bytes(body).decode() for body in payload.build(found[:count]).values()]}


def count_deliveries() -> dict[str, Any]:
    """Deliveries by state, attempts, and seconds from the first attempt to the last delivery recorded."""
    states = WebhookDelivery.objects.values("state").annotate(count=Count("pk"))
    last = WebhookDelivery.objects.filter(state="delivered").aggregate(last=Max("finished_at"))["last"]
    attempts = WebhookAttempt.objects.aggregate(count=Count("pk"), first=Min("started_at"))
    span = (last - attempts["first"]).total_seconds() if last and attempts["first"] else 0.0
    return {
        "states": {row["state"]: row["count"] for row in states},
        "attempts": attempts["count"],
        "seconds": span,
    }


def main() -> None:
    commands = (define_endpoints, write_events, write_steadily, newest_bodies, count_deliveries)
    answer_requests({command.__name__: command for command in commands})
