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
from programs.connection_limits import MAX_CONNECTIONS, connections
from programs.models import Host, Program
from programs.status import is_present

from .queries import series, summary
from .queries.measures import HOST_MEASURES, PROGRAM_MEASURES, HostSource, ProgramSource, RowSource
from .queries.series import AggregateSelection, Series, SeriesPlan
from .schemas import (
    ExportQuery,
    HostSeriesQuery,
    ManySeriesOut,
    MultiSeriesQuery,
    SeriesOut,
    SeriesQuery,
    SummaryOut,
    SummaryQuery,
    split_list,
)
from .storage import export

router = Router(tags=["metrics"])
DEFAULT_METRICS = {"programs": ["cpu_percent", "memory_bytes"], "hosts": ["cpu_percent", "memory_used_bytes"]}
RECHECK_SECONDS = 5.0


def _now() -> int:
    # The next full second, so that rows of the current second are included.
    return int(time.time()) + 1


def _json(found: Mapping[str, Any]) -> HttpResponse:
    # Not validated against the schema: for thousands of points that would take longer than the query.
    return HttpResponse(orjson.dumps(found), content_type="application/json")


# --- Series ---------------------------------------------------------------------------------------------


@router.get("/{int:program_id}", auth=auth.READ, response=SeriesOut)
def history_of_program(request: HttpRequest, program_id: int, query: Query[SeriesQuery]) -> HttpResponse:
    """The usage of one program. The step is rounded up to a multiple of the stored rows' width."""
    if not is_present(program_id):
        raise Http404(f"There is no program {program_id}.")
    selection = series.select_aggregates(
        PROGRAM_MEASURES, split_list(query.metrics) or DEFAULT_METRICS["programs"], split_list(query.aggregates)
    )
    return _json(_single_series(ProgramSource([program_id]), program_id, query, selection))


@router.get("/host", auth=auth.READ, response=SeriesOut)
def history_of_host(request: HttpRequest, query: Query[HostSeriesQuery]) -> HttpResponse:
    """The usage of a whole host, including processes that are not monitored."""
    named = Host.objects.filter(name=query.host) if query.host else Host.objects.filter(is_default=True)
    host_id = named.values_list("pk", flat=True).first()
    if host_id is None:
        raise Http404(f"There is no host {query.host}." if query.host else "There is no host yet.")
    selection = series.select_aggregates(
        HOST_MEASURES, split_list(query.metrics) or DEFAULT_METRICS["hosts"], split_list(query.aggregates)
    )
    return _json(_single_series(HostSource(host_id), host_id, query, selection))


def _single_series(
    source: RowSource, owner: int, query: SeriesQuery, selection: AggregateSelection
) -> dict[str, Any]:
    now = _now()
    plan = _plan_query(query, now, owners=1)
    found = _read_series(source, plan, selection, now).get(owner) or series.empty_series(selection)
    answer: dict[str, Any] = {"step": plan.step, "tier": plan.tier.name, "series": found}
    if query.compare:
        before = _read_series(source, plan.earlier(), selection, now).get(owner) or series.empty_series(selection)
        answer["previous"] = {"offset": plan.length, "series": before}
    return answer


def _read_series(
    source: RowSource, plan: SeriesPlan, selection: AggregateSelection, now: int
) -> dict[int, Series]:
    if isinstance(source, ProgramSource):
        return series.cached_series(source, plan, selection, now)
    return series.read_series(source, plan, selection, now)


def _plan_query(query: SeriesQuery, now: int, *, owners: int) -> SeriesPlan:
    start, end = query.unix_range(now)
    oldest = 2 * start - end if query.compare else start
    return series.plan_series(start, end, step=query.step_seconds, now=now, owners=owners, oldest=oldest)


@router.get("/query", auth=auth.READ, response=ManySeriesOut)
def history_of_many(request: HttpRequest, query: Query[MultiSeriesQuery]) -> HttpResponse:
    """The usage of several programs or all. They share a limit of 20,000 points per metric and aggregate."""
    ids, now = query.ids, _now()
    present = Program.objects.order_by("name")
    names = dict((present if ids is None else present.filter(pk__in=ids)).values_list("pk", "name"))
    if unknown := sorted(set(ids or ()) - names.keys()):
        raise Http404(f"There is no program {unknown[0]}.")
    selection = series.select_aggregates(
        PROGRAM_MEASURES, split_list(query.metrics) or DEFAULT_METRICS["programs"], split_list(query.aggregates)
    )
    plan = _plan_query(query, now, owners=len(names))
    found = _read_series(ProgramSource(ids), plan, selection, now)
    before = _read_series(ProgramSource(ids), plan.earlier(), selection, now) if query.compare else {}
    offset = {"offset": plan.length} if query.compare else {}
    answer: dict[str, Any] = {"step": plan.step, "tier": plan.tier.name, **offset}
    answer["programs"] = _series_items(names, selection, found, before if query.compare else None)
    return _json(answer)


def _series_items(
    names: Mapping[int, str],
    selection: AggregateSelection,
    found: Mapping[int, Series],
    before: Mapping[int, Series] | None,
) -> list[dict[str, Any]]:
    """Programs with points in either time; `before` is None without a comparison."""
    items = []
    for pk, name in names.items():
        if pk in found or pk in (before or ()):
            item: dict[str, Any] = {
                "id": pk,
                "name": name,
                "series": found.get(pk) or series.empty_series(selection),
            }
            if before is not None:
                item["previous"] = before.get(pk) or series.empty_series(selection)
            items.append(item)
    return items


# --- Summary --------------------------------------------------------------------------------------------


@router.get("/summary", auth=auth.READ, response=SummaryOut)
def summary_of_programs(request: HttpRequest, query: Query[SummaryQuery]) -> HttpResponse:
    """Average, maximum and 95th percentile per program, its uptime ratio and its restarts."""
    now = _now()
    plan = summary.summary_window(*query.unix_range(now))
    items = summary.summarize_programs(plan, now, ids=query.ids, order=query.order, limit=query.limit)
    if query.compare:
        items = _with_previous(items, plan.earlier(), now)
    return _json({"start": iso_from_unix(plan.start), "end": iso_from_unix(plan.end), "items": items})


def _with_previous(items: list[summary.ProgramSummary], window: summary.SummaryWindow, now: int) -> list[Any]:
    ids = [item["id"] for item in items]
    before = {item["id"]: item for item in summary.summarize_programs(window, now, ids=ids, limit=len(ids))}
    compared = ("cpu_percent", "memory_bytes", "uptime_ratio", "restarts")
    return [{**item, "previous": {name: before[item["id"]][name] for name in compared}} for item in items]  # type: ignore[literal-required]  # field names


# --- Export ---------------------------------------------------------------------------------------------


@router.get("/export", auth=auth.READ, response={200: None})
async def export_history(request: AuthedRequest, query: Query[ExportQuery]) -> StreamingHttpResponse:
    """Streams all rows of one or more tiers as JSON lines or CSV. Disconnect to stop."""
    start, end = query.unix_range(_now())
    selection = export.ExportSelection(export.parse_tiers(query.tier), start, end, query.ids)
    format_ = export.format_by_name(query.format)
    if not connections.has_room(request.auth):
        raise HttpError(429, f"You have {MAX_CONNECTIONS} open connections; close one.")
    gzip = export.Gzip() if "gzip" in request.headers.get("Accept-Encoding", "") else None
    answer = StreamingHttpResponse(_stream(request, selection, format_, gzip), content_type=format_.media_type)
    answer["Content-Disposition"] = f'attachment; filename="metrics.{format_.suffix}"'
    answer["Cache-Control"] = "no-store"
    patch_vary_headers(answer, ["Accept-Encoding"])
    if gzip:
        answer["Content-Encoding"] = "gzip"
    return answer


async def _stream(
    request: AuthedRequest,
    selection: export.ExportSelection,
    format_: export.ExportFormat,
    gzip: export.Gzip | None,
) -> AsyncGenerator[bytes, None]:
    # Stops early, with a truncated file, when the caller loses the right to read.
    credentials = StreamCredentials.from_request(request)

    def may_continue() -> bool:
        principal = credentials.principal()
        return principal is not None and principal.has_role(Role.READ)

    chunks = export.chunks(selection, format_, gzip)
    next_chunk = sync_to_async(lambda: next(chunks, None))
    recheck_at = time.monotonic() + RECHECK_SECONDS
    with connections.hold(request.auth):
        while (chunk := await next_chunk()) is not None:
            if time.monotonic() > recheck_at:
                if not await sync_to_async(may_continue)():
                    return
                recheck_at = time.monotonic() + RECHECK_SECONDS
            if chunk:
                yield chunk
