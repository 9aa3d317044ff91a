"""`/system/errors`: what went wrong inside the monitor, grouped."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from django.db.models import Q
from django.http import Http404, HttpRequest
from ninja import Query, Router, Schema

from core.access.login import client_address
from core.models import ErrorGroup
from core.rest import auth
from core.rest.auth import AuthedRequest
from core.rest.inputs import Moment, Text
from core.rest.lists import Listing, Page
from core.timeformat import iso

from .store import resolve

router = Router(tags=["system"])
ORDER = {
    "last_seen_at": "last_seen_at",
    "first_seen_at": "first_seen_at",
    "count": "count",
    "kind": "kind",
    "id": "id",
}
MOMENTS = ("first_seen_at", "last_seen_at", "resolved_at")


class ErrorOut(Schema):
    id: int
    fingerprint: str
    kind: str
    culprit: str
    message: str
    process: str
    place: str
    host: str
    version: str
    count: int
    first_seen_at: datetime
    last_seen_at: datetime
    resolved_at: datetime | None
    resolved_by: str


class ErrorDetail(ErrorOut):
    traceback: str


class ErrorListing(Listing):
    state: Literal["", "open", "resolved"] = ""
    process: Text = ""
    since: Moment | None = None


class ErrorPage(Schema):
    items: list[dict[str, Any]]
    count: int
    page: int
    per_page: int


FIELDS = tuple(ErrorOut.model_fields)


@router.get("/errors", auth=auth.READ, response=ErrorPage)
def all_errors(request: HttpRequest, listing: Query[ErrorListing]) -> Page:
    """Errors nobody handled, those seen last first. `search` looks at kind, culprit and message; `since` at when
    they were seen last."""
    found = ErrorGroup.objects.defer("traceback").filter(_wanted(listing))
    columns, fields = listing.order(ORDER, "-last_seen_at"), listing.chosen_fields(FIELDS)
    rows, count = listing.rows(found.order_by(*columns, "-id"))
    return listing.answer([_shown(row, FIELDS) for row in rows], count, fields)


@router.get("/errors/{int:error_id}", auth=auth.ADMIN, response=ErrorDetail)
def one_error(request: HttpRequest, error_id: int) -> dict[str, Any]:
    """With the traceback of the last one."""
    return _shown(_error_or_404(error_id), (*FIELDS, "traceback"))


@router.post("/errors/{int:error_id}/resolve", auth=auth.OPERATE, response=ErrorOut)
def resolve_error(request: AuthedRequest, error_id: int) -> dict[str, Any]:
    """Marks it as seen. It opens again when it comes again."""
    resolve([_error_or_404(error_id)], request.auth, client_address(request))
    return _shown(_error_or_404(error_id), FIELDS)


def _wanted(listing: ErrorListing) -> Q:
    wanted = Q(resolved_at__isnull=listing.state == "open") if listing.state else Q()
    if listing.process:
        wanted &= Q(process=listing.process)
    if listing.since:
        wanted &= Q(last_seen_at__gte=listing.since)
    if listing.search:
        columns = ("kind", "culprit", "message")
        words = [Q(**{f"{column}__icontains": listing.search}) for column in columns]
        wanted &= words[0] | words[1] | words[2]
    return wanted


def _error_or_404(error_id: int) -> ErrorGroup:
    row = ErrorGroup.objects.filter(pk=error_id).first() if error_id < 2**63 else None
    if row is None:
        raise Http404(f"There is no error {error_id}.")
    return row


def _shown(row: ErrorGroup, names: tuple[str, ...]) -> dict[str, Any]:
    return {name: iso(getattr(row, name)) if name in MOMENTS else getattr(row, name) for name in names}
