"""`/events` and `/incidents`, newest first."""

from __future__ import annotations

from typing import Any, TypeVar

from django.core.exceptions import ValidationError
from django.db.models import Model, Q, QuerySet
from django.http import Http404, HttpRequest
from ninja import Query, Router

from core.rest import auth
from core.rest.lists import ListPage
from core.timeformat import iso
from programs import events
from programs.models import Incident, ProgramEvent
from programs.schemas import (
    AllEventsListing,
    EventListing,
    EventOut,
    IncidentDetail,
    IncidentListing,
    IncidentOut,
    PageOut,
)

from .definitions import program_or_404
from .filters import type_filter

router = Router(tags=["events"])
M = TypeVar("M", bound=Model)
EVENT_FIELDS = tuple(EventOut.model_fields)
EVENT_ORDER = {"timestamp": "timestamp", "seq": "seq"}
INCIDENT_FIELDS = tuple(IncidentOut.model_fields)
INCIDENT_ORDER = {"timestamp": "timestamp", "id": "id"}


@router.get("/programs/{int:program_id}/events", auth=auth.READ, response=PageOut)
def events_of_program(request: HttpRequest, program_id: int, listing: Query[EventListing]) -> ListPage:
    return _event_page(ProgramEvent.objects.filter(program=program_or_404(program_id)), listing)


@router.get("/events", auth=auth.READ, response=PageOut)
def all_events(request: HttpRequest, listing: Query[AllEventsListing]) -> ListPage:
    """Events of all programs, also of removed ones, and of the monitor itself."""
    found = ProgramEvent.objects.all()
    return _event_page(found.filter(program=listing.program) if listing.program else found, listing)


def _event_page(found: QuerySet[ProgramEvent], listing: EventListing) -> ListPage:
    """`search` searches the names of program and actor."""
    found = _filter_time(found, listing).filter(
        type_filter(listing.type, "type"), _severity_filter(listing, "severity")
    )
    if listing.search:
        found = found.filter(Q(program_name__icontains=listing.search) | Q(actor__icontains=listing.search))
    columns, fields = listing.order(EVENT_ORDER, "-timestamp"), listing.selected_fields(EVENT_FIELDS)
    rows, count = listing.rows(found.order_by(*columns, "-seq"))
    return listing.page_response([events.as_json(event) for event in rows], count, fields)


@router.get("/incidents", auth=auth.READ, response=PageOut)
def all_incidents(request: HttpRequest, listing: Query[IncidentListing]) -> ListPage:
    """Crashes. `search` searches the name of the program and the meaning."""
    found = _filter_time(Incident.objects.select_related("event"), listing)
    found = found.filter(type_filter(listing.type, "event__type"), _severity_filter(listing, "event__severity"))
    if listing.program:
        found = found.filter(program=listing.program)
    if listing.fingerprint:
        found = found.filter(fingerprint=listing.fingerprint)
    if listing.search:
        found = found.filter(Q(program_name__icontains=listing.search) | Q(meaning__icontains=listing.search))
    columns, fields = listing.order(INCIDENT_ORDER, "-timestamp"), listing.selected_fields(INCIDENT_FIELDS)
    rows, count = listing.rows(found.order_by(*columns, "-id"))
    return listing.page_response([_incident(row) for row in rows], count, fields)


@router.get("/incidents/{int:incident_id}", auth=auth.READ, response=IncidentDetail)
def one_incident(request: HttpRequest, incident_id: int) -> dict[str, Any]:
    """With the last log lines, and the metrics and changes before the crash."""
    row = Incident.objects.select_related("event").filter(pk=incident_id).first()
    if row is None:
        raise Http404(f"There is no incident {incident_id}.")
    more = {name: getattr(row, name) for name in ("log_lines", "metrics_before", "changes_before")}
    return {**_incident(row), **more}


def _incident(row: Incident) -> dict[str, Any]:
    same = ("id", "exit_code", "exit_signal", "meaning", "out_of_memory", "uptime_seconds", "fingerprint")
    return {
        **{name: getattr(row, name) for name in same},
        "event": row.event.uid,
        "program": {"id": row.program_id, "name": row.program_name},
        "process": row.process_index,
        "timestamp": iso(row.timestamp),
    }


# --- Filters --------------------------------------------------------------------------------------------


def _filter_time(found: QuerySet[M], listing: EventListing) -> QuerySet[M]:
    if listing.since:
        found = found.filter(timestamp__gte=listing.since)
    return found.filter(timestamp__lt=listing.until) if listing.until else found


def _severity_filter(listing: EventListing, column: str) -> Q:
    words = [word.strip() for word in listing.severity.split(",") if word.strip()]
    known = ProgramEvent.Severity.values
    if unknown := [word for word in words if word not in known]:
        raise ValidationError({"severity": f"Unknown severity {unknown[0]}; use one of {', '.join(known)}."})
    return Q(**{f"{column}__in": words}) if words else Q()
