"""`/metrics`: the history of programs and hosts. docs/metrics.md is the guide."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Mapping
from typing import Any

import orjson
from asgiref.sync import sync_to_async
from django.http import Http404, HttpRequest, HttpResponse, StreamingHttpResponse
from django.utils.cache import patch_vary_headers
from ninja import Query, Router
from ninja.errors import HttpError

from core.access import Role
from core.rest import auth
from core.rest.auth import AuthedRequest, StreamCredentials
from core.timeformat import iso_from_unix
from programs.connection_limits import SEATS, seats
from programs.models import Host, Program
from programs.status import is_present

from .queries import cached_queries, series, summary
from .queries.measures import OF_HOSTS, OF_PROGRAMS, OneHost, Programs, Source
from .queries.series import Chosen, Plan, Series
from .schemas import (
    Chart,
    ChartOfHost,
    ChartOfMany,
    ExportQuery,
    ManySeriesOut,
    SeriesOut,
    SummaryOut,
    SummaryQuery,
    words,
)
from .storage import export

router = Router(tags=["metrics"])
DEFAULT_METRICS = {"programs": ["cpu_percent", "memory_bytes"], "hosts": ["cpu_percent", "memory_used_bytes"]}
RECHECK_SECONDS = 5.0


def _now() -> int:
    """The first second that has not begun, so that what was recorded in this one is in."""
    return int(time.time()) + 1


def _json(found: Mapping[str, Any]) -> HttpResponse:
    # Straight to JSON: checking thousands of our own points against the schema would take longer than the query.
    return HttpResponse(orjson.dumps(found), content_type="application/json")


# --- Series ---------------------------------------------------------------------------------------------


@router.get("/{int:program_id}", auth=auth.READ, response=SeriesOut)
def history_of_program(request: HttpRequest, program_id: int, chart: Query[Chart]) -> HttpResponse:
    """What one program used. The step is a multiple of what was kept for that time, so it may come out larger."""
    if not is_present(program_id):
        raise Http404(f"There is no program {program_id}.")
    chosen = series.choose(
        OF_PROGRAMS, words(chart.metrics) or DEFAULT_METRICS["programs"], words(chart.aggregates)
    )
    return _json(_of_one(Programs([program_id]), program_id, chart, chosen))


@router.get("/host", auth=auth.READ, response=SeriesOut)
def history_of_host(request: HttpRequest, chart: Query[ChartOfHost]) -> HttpResponse:
    """What a whole machine used, programs of ours or not."""
    named = Host.objects.filter(name=chart.host) if chart.host else Host.objects.filter(is_default=True)
    host_id = named.values_list("pk", flat=True).first()
    if host_id is None:
        raise Http404(f"There is no host {chart.host}." if chart.host else "No host is known yet.")
    chosen = series.choose(OF_HOSTS, words(chart.metrics) or DEFAULT_METRICS["hosts"], words(chart.aggregates))
    return _json(_of_one(OneHost(host_id), host_id, chart, chosen))


def _of_one(source: Source, owner: int, chart: Chart, chosen: Chosen) -> dict[str, Any]:
    now = _now()
    asked = _plan(chart, now, owners=1)
    found = _series(source, asked, chosen, now).get(owner) or series.empty(chosen)
    answer: dict[str, Any] = {"step": asked.step, "tier": asked.tier.name, "series": found}
    if chart.compare:
        before = _series(source, asked.earlier(), chosen, now).get(owner) or series.empty(chosen)
        answer["previous"] = {"offset": asked.length, "series": before}
    return answer


def _series(source: Source, asked: Plan, chosen: Chosen, now: int) -> dict[int, Series]:
    if isinstance(source, Programs):
        return cached_queries.cached_series(source, asked, chosen, now)
    return series.series(source, asked, chosen, now)


def _plan(chart: Chart, now: int, *, owners: int) -> Plan:
    start, end = chart.span(now)
    reach = 2 * start - end if chart.compare else start
    return series.plan(start, end, step=chart.step_seconds, now=now, owners=owners, reach=reach)


@router.get("/query", auth=auth.READ, response=ManySeriesOut)
def history_of_many(request: HttpRequest, chart: Query[ChartOfMany]) -> HttpResponse:
    """What several programs used, or all of them; they share 20,000 points for each metric and aggregate."""
    ids, now = chart.ids, _now()
    present = Program.objects.order_by("name")
    names = dict((present if ids is None else present.filter(pk__in=ids)).values_list("pk", "name"))
    if unknown := sorted(set(ids or ()) - names.keys()):
        raise Http404(f"There is no program {unknown[0]}.")
    chosen = series.choose(
        OF_PROGRAMS, words(chart.metrics) or DEFAULT_METRICS["programs"], words(chart.aggregates)
    )
    asked = _plan(chart, now, owners=len(names))
    found = _series(Programs(ids), asked, chosen, now)
    before = _series(Programs(ids), asked.earlier(), chosen, now) if chart.compare else {}
    offset = {"offset": asked.length} if chart.compare else {}
    answer: dict[str, Any] = {"step": asked.step, "tier": asked.tier.name, **offset}
    answer["programs"] = _named(names, chosen, found, before if chart.compare else None)
    return _json(answer)


def _named(
    names: Mapping[int, str], chosen: Chosen, found: Mapping[int, Series], before: Mapping[int, Series] | None
) -> list[dict[str, Any]]:
    """Those with points in either time; `before` is None when nothing is compared."""
    items = []
    for pk, name in names.items():
        if pk in found or pk in (before or ()):
            item: dict[str, Any] = {"id": pk, "name": name, "series": found.get(pk) or series.empty(chosen)}
            if before is not None:
                item["previous"] = before.get(pk) or series.empty(chosen)
            items.append(item)
    return items


# --- Summary --------------------------------------------------------------------------------------------


@router.get("/summary", auth=auth.READ, response=SummaryOut)
def summary_of_programs(request: HttpRequest, query: Query[SummaryQuery]) -> HttpResponse:
    """Average, highest and 95th percentile of each program, how much of the time it ran, and its restarts."""
    now = _now()
    asked = summary.window(*query.span(now))
    items = summary.summary(asked, now, ids=query.ids, order=query.order, limit=query.limit)
    if query.compare:
        items = _with_previous(items, asked.earlier(), now)
    return _json({"start": iso_from_unix(asked.start), "end": iso_from_unix(asked.end), "items": items})


def _with_previous(items: list[summary.Item], window: summary.Window, now: int) -> list[Any]:
    ids = [item["id"] for item in items]
    before = {item["id"]: item for item in summary.summary(window, now, ids=ids, limit=len(ids))}
    compared = ("cpu_percent", "memory_bytes", "uptime_ratio", "restarts")
    return [{**item, "previous": {name: before[item["id"]][name] for name in compared}} for item in items]  # type: ignore[literal-required]  # names of fields


# --- Export ---------------------------------------------------------------------------------------------


@router.get("/export", auth=auth.READ, response={200: None})
async def export_history(request: AuthedRequest, query: Query[ExportQuery]) -> StreamingHttpResponse:
    """All rows of a tier, in lines of JSON or CSV, as they are read. Hang up to stop it."""
    start, end = query.span(_now())
    selected = export.Selection(export.tiers_named(query.tier), start, end, query.ids)
    written = export.format_named(query.format)
    if not seats.has_one_for(request.auth):
        raise HttpError(429, f"You have {SEATS} connections open already; close one.")
    gzip = export.Gzip() if "gzip" in request.headers.get("Accept-Encoding", "") else None
    answer = StreamingHttpResponse(_sent(request, selected, written, gzip), content_type=written.media_type)
    answer["Content-Disposition"] = f'attachment; filename="metrics.{written.suffix}"'
    answer["Cache-Control"] = "no-store"
    patch_vary_headers(answer, ["Accept-Encoding"])
    if gzip:
        answer["Content-Encoding"] = "gzip"
    return answer


async def _sent(
    request: AuthedRequest, selected: export.Selection, written: export.Format, gzip: export.Gzip | None
) -> AsyncGenerator[bytes, None]:
    """Ends early, without the end of the file, when the caller's right to read does."""
    credentials = StreamCredentials.from_request(request)

    def may_go_on() -> bool:
        principal = credentials.principal()
        return principal is not None and principal.has_role(Role.READ)

    pieces = export.chunks(selected, written, gzip)
    following = sync_to_async(lambda: next(pieces, None))
    recheck_at = time.monotonic() + RECHECK_SECONDS
    with seats.one_for(request.auth):
        while (piece := await following()) is not None:
            if time.monotonic() > recheck_at:
                if not await sync_to_async(may_go_on)():
                    return
                recheck_at = time.monotonic() + RECHECK_SECONDS
            if piece:
                yield piece
