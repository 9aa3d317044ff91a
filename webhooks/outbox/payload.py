"""The payload of an event: the JSON that signed deliveries carry and that chat messages are made from.

{"id": "evt_…", "schema_version": 1, "type": "program.crashed", "timestamp": "…Z", "seq": 41,
 "data": {"program": {"id", "name", "description", "tags"} or null,
          "process": {"index", …} or null,
          "event": the event as the API shows it,
          "host": "nas", "summary": "one readable line", "link": "http://…/admin/…"}}

`process` has those of `pid exit_code exit_signal meaning out_of_memory uptime_seconds` that are known; exits and
restarts add `restarts_last_hour`, a crash and a `program.fatal` after it the last `log_lines` (a list of texts).
A body over 64 KiB gets `"truncated": true` and leaves out the details of event, process and program.
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
from core.masking import mask_lines, mask_texts
from core.public_url import public_url
from programs import events
from programs.descriptions import summary
from programs.models import Host, Incident, ProgramEvent

log = structlog.get_logger(__name__)
SCHEMA_VERSION = 1  # increases when a field is removed or changes its meaning, not when one is added
MAX_BYTES = 64 * 1024
LOG_LINES = 10
MAX_LINE_LENGTH = 500
PROCESS_KEYS = ("pid", "exit_code", "exit_signal", "meaning", "out_of_memory", "uptime_seconds")
EXIT_EVENTS = frozenset(
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
LAST_CRASH_WITHIN = timedelta(seconds=10)
VALUES_ROW = "(%s, %s, %s, %s, %s)"
RESTARTS = """
WITH asked (id, program, since, until, seq) AS (VALUES {asked})
SELECT asked.id, COUNT(r.id) FROM asked LEFT JOIN {table} r
ON r.program_id = asked.program AND r.type = 'program.restarted'
AND r.timestamp > asked.since AND r.timestamp <= asked.until AND r.seq <= asked.seq
GROUP BY asked.id
"""

Body = dict[str, Any]


@dataclass(frozen=True)
class _Related:
    """What payloads need besides the events, read once for a batch."""

    incidents: dict[int, Incident]
    restarts: dict[int, int]
    host: str


def build(found: Iterable[ProgramEvent]) -> dict[int, Body]:
    """By the event's primary key. Load the events with `select_related("program__host")`."""
    found = list(found)
    default = Host.objects.filter(is_default=True).values_list("name", flat=True).first()
    related = _Related(_incidents(found), _restarts(found), default or settings.HOST_NAME)
    return {event.pk: _build_safely(event, related) for event in found}


def _incidents(found: list[ProgramEvent]) -> dict[int, Incident]:
    """By event: the incident of a crash, and of the crash after which a program failed permanently."""
    crashes = [event.pk for event in found if event.type == "program.crashed"]
    incidents = {row.event_id: row for row in Incident.objects.filter(event__in=crashes)}
    for event in found:
        if event.type == "program.fatal" and (incident := _last_incident(event)):
            incidents[event.pk] = incident
    return incidents


def _last_incident(event: ProgramEvent) -> Incident | None:
    # The agent records the crash right before; an older one has nothing to do with, say, a missing executable.
    since = event.timestamp - LAST_CRASH_WITHIN
    same = Incident.objects.filter(program=event.program_id, process_index=event.process_index or 0)
    return same.filter(timestamp__gte=since, event__seq__lt=event.seq).order_by("-event__seq").first()


def _build_safely(event: ProgramEvent, related: _Related) -> Body:
    # Odd data of one event must stop neither the others of the batch nor the event itself.
    try:
        return _truncated(_body(event, related))
    except (TypeError, ValueError, AttributeError, KeyError):
        log.exception("webhooks.payload_failed", event_id=event.uid)
        return _minimal_body(event)


def build_one(event: ProgramEvent) -> Body:
    return build([event])[event.pk]


def _body(event: ProgramEvent, related: _Related) -> Body:
    event_json = events.as_json(event)
    incident = related.incidents.get(event.pk)
    data = {
        "program": _program(event),
        "process": _process(event, incident, related.restarts.get(event.pk)),
        "event": event_json,
        "host": _host(event, related.host),
        "summary": summary(event.type, _name_with_instance(event), event.data),
    }
    # Every format is built from this body. What is stored is masked by value alone, except for events.
    return {**_envelope(event, event_json), "data": {**mask_texts(data), "link": _link(event, incident)}}


def _envelope(event: ProgramEvent, event_json: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": event.uid,
        "schema_version": SCHEMA_VERSION,
        "type": event.type,
        "timestamp": event_json["timestamp"],
        "seq": event.seq,
    }


def _program(event: ProgramEvent) -> dict[str, Any] | None:
    if event.program is None:
        return {"id": None, "name": event.program_name} if event.program_name else None
    details = {"description": event.program.description, "tags": event.program.tags}
    return {"id": event.program_id, "name": event.program_name, **details}


def _name_with_instance(event: ProgramEvent) -> str:
    index = event.process_index
    is_one_of_several = index is not None and (
        index > 0 or (event.program is not None and event.program.desired_instances > 1)
    )
    return f"{event.program_name} (instance {index})" if is_one_of_several else event.program_name


def _process(event: ProgramEvent, incident: Incident | None, restarts: int | None) -> dict[str, Any] | None:
    if event.process_index is None:
        return None
    details = {key: event.data[key] for key in PROCESS_KEYS if key in event.data}
    if restarts is not None:
        details["restarts_last_hour"] = restarts
    if incident is not None:
        details["out_of_memory"] = incident.out_of_memory
        details["log_lines"] = [line[:MAX_LINE_LENGTH] for line in mask_lines(incident.log_lines)[-LOG_LINES:]]
    return {"index": event.process_index, **details}


def _restarts(found: list[ProgramEvent]) -> dict[int, int]:
    """By event: restarts of its program in the hour before it.

    Also limited by sequence number, so that every attempt of a delivery has the same body. One raw statement for
    all events: Django would need a query for each.
    """
    exits = [
        e for e in found if e.type in EXIT_EVENTS and e.program_id is not None and e.process_index is not None
    ]
    if not exits:
        return {}
    values = [(e.pk, e.program_id, e.timestamp - HOUR, e.timestamp, e.seq) for e in exits]
    statement = RESTARTS.format(table=ProgramEvent._meta.db_table, asked=", ".join([VALUES_ROW] * len(exits)))
    return dict(bulk_sql.fetch(statement, chain.from_iterable(values)))


def _host(event: ProgramEvent, default: str) -> str:
    if event.program is not None:
        return event.program.host.name if event.program.host else default
    # Events without a program, such as agent.lost, name their host in the data.
    named = event.data.get("host")
    return named if isinstance(named, str) and named else default


def _link(event: ProgramEvent, incident: Incident | None) -> str:
    # Paths, not reverse(): the admin's routes are not loaded in the worker.
    alert = event.data.get("alert") if event.type.startswith("alert.") else None
    if incident is not None:
        page = f"programs/incident/{incident.pk}/change/"
    elif type(alert) is int:
        page = f"metrics/alert/{alert}/change/"
    elif event.program_id is not None:
        page = f"programs/program/{event.program_id}/change/"
    else:
        page = "programs/programevent/"
    return f"{public_url()}/admin/{page}"


def _minimal_body(event: ProgramEvent) -> Body:
    name = {"id": event.program_id, "name": event.program_name} if event.program_name else None
    event_json = {**events.as_json(event), "data": {}}
    data = {
        "program": name,
        "process": None,
        "event": event_json,
        "host": settings.HOST_NAME,
        "summary": str(event),
    }
    return {**_envelope(event, event_json), "truncated": True, "data": data}


def _truncated(body: Body) -> Body:
    if len(json.dumps(body)) <= MAX_BYTES:
        return body
    data = dict(body["data"])
    data["event"] = {**data["event"], "data": {}}
    # The receiver can fetch the details with the API.
    data["process"] = data["process"] and {"index": data["process"]["index"]}
    data["program"] = data["program"] and {"id": data["program"]["id"], "name": data["program"]["name"]}
    return {**body, "truncated": True, "data": data}
