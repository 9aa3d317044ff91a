"""What is told about an event: the JSON that signed deliveries carry and chat messages are made from.

{"id": "evt_…", "schema_version": 1, "type": "program.crashed", "timestamp": "…Z", "seq": 41,
 "data": {"program": {"id", "name", "description", "tags"} or null,
          "process": {"index", …} or null,
          "event": the event as the API shows it,
          "host": "nas", "summary": "one line a person understands", "link": "http://…/admin/…"}}

`process` has what is known of `pid exit_code exit_signal meaning out_of_memory uptime_seconds`; for ends and
restarts `restarts_last_hour`, after a crash the last `log_lines` (a list of texts). A body that would be too big
says `"truncated": true` and leaves out what the event and its program are described by at length.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from itertools import chain
from typing import Any

import structlog
from django.conf import settings

from core import bulk_sql
from programs import events
from programs.descriptions import summary
from programs.models import Host, Incident, ProgramEvent

log = structlog.get_logger(__name__)
SCHEMA_VERSION = 1  # rises when something in a body is taken away or changes its meaning, not when more is told
LARGEST = 64 * 1024
LOG_LINES = 10
LONGEST_LINE = 500
PROCESS_KEYS = ("pid", "exit_code", "exit_signal", "meaning", "out_of_memory", "uptime_seconds")
ENDS = frozenset(
    {
        "program.crashed",
        "program.exited",
        "program.restarted",
        "program.backoff",
        "program.fatal",
        "program.stopped",
    }
)
HOUR = timedelta(hours=1)
ASKED = "(%s, %s, %s, %s, %s)"
RESTARTS = """
WITH asked (id, program, since, until, seq) AS (VALUES {asked})
SELECT asked.id, COUNT(r.id) FROM asked LEFT JOIN {table} r
ON r.program_id = asked.program AND r.type = 'program.restarted'
AND r.timestamp > asked.since AND r.timestamp <= asked.until AND r.seq <= asked.seq
GROUP BY asked.id
"""

Body = dict[str, Any]


@dataclass(frozen=True)
class _Known:
    """What a batch of bodies is made from besides the events: read once for all of them."""

    incidents: dict[int, Incident]
    restarts: dict[int, int]
    host: str


def build(found: Iterable[ProgramEvent]) -> dict[int, Body]:
    """The bodies by the event's primary key. Load the events with `select_related("program__host")`."""
    found = list(found)
    incidents = Incident.objects.filter(event__in=[event.pk for event in found if event.type == "program.crashed"])
    default = Host.objects.filter(is_default=True).values_list("name", flat=True).first()
    known = _Known({row.event_id: row for row in incidents}, _restarts(found), default or settings.HOST_NAME)
    return {event.pk: _built(event, known) for event in found}


def _built(event: ProgramEvent, known: _Known) -> Body:
    """One event that cannot be told in full must not hold up the others, nor be kept back itself."""
    try:
        return _fitting(_body(event, known))
    except (TypeError, ValueError, AttributeError, KeyError):
        log.exception("webhooks.body_broke", event_id=event.uid)
        return _thin(event)


def build_one(event: ProgramEvent) -> Body:
    return build([event])[event.pk]


def _body(event: ProgramEvent, known: _Known) -> Body:
    shown = events.as_json(event)
    incident = known.incidents.get(event.pk)
    data = {
        "program": _program(event),
        "process": _process(event, incident, known.restarts.get(event.pk)),
        "event": shown,
        "host": _host(event, known.host),
        "summary": summary(event.type, event.program_name, event.data),
        "link": _link(event, incident),
    }
    return {**_head(event, shown), "data": data}


def _head(event: ProgramEvent, shown: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": event.uid,
        "schema_version": SCHEMA_VERSION,
        "type": event.type,
        "timestamp": shown["timestamp"],
        "seq": event.seq,
    }


def _program(event: ProgramEvent) -> dict[str, Any] | None:
    if event.program is None:
        return {"id": None, "name": event.program_name} if event.program_name else None
    about = {"description": event.program.description, "tags": event.program.tags}
    return {"id": event.program_id, "name": event.program_name, **about}


def _process(event: ProgramEvent, incident: Incident | None, restarts: int | None) -> dict[str, Any] | None:
    if event.process_index is None:
        return None
    told = {key: event.data[key] for key in PROCESS_KEYS if key in event.data}
    if restarts is not None:
        told["restarts_last_hour"] = restarts
    if incident is not None:
        told["out_of_memory"] = incident.out_of_memory
        told["log_lines"] = [line[:LONGEST_LINE] for line in incident.log_lines[-LOG_LINES:]]
    return {"index": event.process_index, **told}


def _restarts(found: list[ProgramEvent]) -> dict[int, int]:
    """By end, how often its program was restarted in the hour before. By sequence too, so that a later try of the
    same delivery says the same. Asked for all at once, and in SQL: Django would count them one by one.
    """
    asked = [e for e in found if e.type in ENDS and e.program_id is not None and e.process_index is not None]
    if not asked:
        return {}
    values = [(e.pk, e.program_id, e.timestamp - HOUR, e.timestamp, e.seq) for e in asked]
    statement = RESTARTS.format(table=ProgramEvent._meta.db_table, asked=", ".join([ASKED] * len(asked)))
    return dict(bulk_sql.fetch(statement, chain.from_iterable(values)))


def _host(event: ProgramEvent, default: str) -> str:
    if event.program is not None:
        return event.program.host.name if event.program.host else default
    named = event.data.get("host")
    return named if isinstance(named, str) and named else default


def _link(event: ProgramEvent, incident: Incident | None) -> str:
    """The page about it. The admin's routes are not loaded where this runs, so the paths stand here."""
    if incident is not None:
        return f"{_site()}/admin/programs/incident/{incident.pk}/change/"
    if event.program_id is not None:
        return f"{_site()}/admin/programs/program/{event.program_id}/change/"
    return f"{_site()}/admin/programs/programevent/"


def _site() -> str:
    if settings.CSRF_TRUSTED_ORIGINS:
        return str(settings.CSRF_TRUSTED_ORIGINS[0]).rstrip("/")
    host, _, port = settings.BIND.rpartition(":")
    return f"http://{settings.HOST_NAME if host in ('0.0.0.0', '[::]', '') else host}:{port}"  # noqa: S104


def _thin(event: ProgramEvent) -> Body:
    name = {"id": event.program_id, "name": event.program_name} if event.program_name else None
    shown = {**events.as_json(event), "data": {}}
    data = {"program": name, "process": None, "event": shown, "host": settings.HOST_NAME, "summary": str(event)}
    return {**_head(event, shown), "truncated": True, "data": data}


def _fitting(body: Body) -> Body:
    if len(json.dumps(body)) <= LARGEST:
        return body
    data = dict(body["data"])
    data["event"] = {**data["event"], "data": {}}
    data["process"] = data["process"] and {"index": data["process"]["index"]}
    data["program"] = data["program"] and {"id": data["program"]["id"], "name": data["program"]["name"]}
    return {**body, "truncated": True, "data": data}
