"""`/status`: the live status of programs."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from ninja import Field, Query, Router, Schema

from core.rest import auth
from programs import status as live
from programs.payloads import ProgramStatus
from programs.schemas import ReportOut, StatusOut

from .definitions import status_or_404

router = Router(tags=["status"])


class Since(Schema):
    since: int | None = Field(None, ge=0, le=live.LARGEST_ID, description="The `revision` of an earlier response")


@router.get("/status", auth=auth.READ, response=ReportOut)
def all_statuses(request: HttpRequest, query: Query[Since]) -> HttpResponse:
    """All programs, or with `since` the changed ones and the ids of removed ones.

    If the changes since then are unknown, `full` is true and the response replaces everything received before.
    """
    # Not validated against the schema, because that would take longer than everything else.
    return HttpResponse(live.report_as_json(query.since), content_type="application/json")


@router.get("/status/{int:program_id}", auth=auth.READ, response=StatusOut)
def one_status(request: HttpRequest, program_id: int) -> ProgramStatus:
    return status_or_404(program_id)
