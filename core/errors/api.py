"""`/system/errors`: grouped errors of the monitor itself."""

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
from core.rest.inputs import Text, Timestamp
from core.rest.lists import ListPage, ListQuery
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
TIMESTAMPS = ("first_seen_at", "last_seen_at", "resolved_at")


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


class ErrorListing(ListQuery):
    state: Literal["", "open", "resolved"] = ""
    process: Text = ""
    since: Timestamp | None = None


class ErrorPage(Schema):
    items: list[dict[str, Any]]
    count: int
    page: int
    per_page: int


FIELDS = tuple(ErrorOut.model_fields)


@router.get("/errors", auth=auth.READ, response=ErrorPage)
def list_errors(request: HttpRequest, listing: Query[ErrorListing]) -> ListPage:
    """Unhandled errors, latest first. `search` matches kind, culprit and message; `since` the last occurrence."""
    found = ErrorGroup.objects.defer("traceback").filter(_filters(listing))
    columns, fields = listing.order(ORDER, "-last_seen_at"), listing.selected_fields(FIELDS)
    rows, count = listing.rows(found.order_by(*columns, "-id"))
    return listing.page_response([_serialize(row, FIELDS) for row in rows], count, fields)


@router.get("/errors/{int:error_id}", auth=auth.ADMIN, response=ErrorDetail)
def get_error(request: HttpRequest, error_id: int) -> dict[str, Any]:
    """With the traceback of the latest occurrence."""
    return _serialize(_error_or_404(error_id), (*FIELDS, "traceback"))


@router.post("/errors/{int:error_id}/resolve", auth=auth.OPERATE, response=ErrorOut)
def resolve_error(request: AuthedRequest, error_id: int) -> dict[str, Any]:
    """Marks it as resolved. It opens again when it occurs again."""
    resolve([_error_or_404(error_id)], request.auth, client_address(request))
    return _serialize(_error_or_404(error_id), FIELDS)


def _filters(listing: ErrorListing) -> Q:
    filters = Q(resolved_at__isnull=listing.state == "open") if listing.state else Q()
    if listing.process:
        filters &= Q(process=listing.process)
    if listing.since:
        filters &= Q(last_seen_at__gte=listing.since)
    if listing.search:
        columns = ("kind", "culprit", "message")
        matches = [Q(**{f"{column}__icontains": listing.search}) for column in columns]
        filters &= matches[0] | matches[1] | matches[2]
    return filters


def _error_or_404(error_id: int) -> ErrorGroup:
    row = ErrorGroup.objects.filter(pk=error_id).first() if error_id < 2**63 else None
    if row is None:
        raise Http404(f"There is no error {error_id}.")
    return row


def _serialize(row: ErrorGroup, names: tuple[str, ...]) -> dict[str, Any]:
    return {name: iso(getattr(row, name)) if name in TIMESTAMPS else getattr(row, name) for name in names}
