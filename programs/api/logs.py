"""`/logs`: the logs of programs. Reading files can block, so it is done in threads."""

from __future__ import annotations

from collections.abc import AsyncIterator

import orjson
from asgiref.sync import sync_to_async
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from ninja import Field, Query, Router, Schema
from ninja.errors import HttpError

from core.access import Role
from core.rest import auth
from core.rest.auth import AuthedRequest, StreamCredentials
from core.rest.inputs import SearchText, Timestamp
from programs.connection_limits import MAX_CONNECTIONS, connections, while_allowed
from programs.logs.lines import Line
from programs.logs.search import DEFAULT_TAIL, MAX_TAIL
from programs.masked_logs import FoundLines, ProgramLogs, refuse_logs_elsewhere, search_all_programs
from programs.models import Program
from programs.schemas import FoundLinesOut, LinesOut

from .definitions import program_or_404

router = Router(tags=["logs"])
RECHECK_SECONDS = 5.0
MAX_FOUND = 1000


class Span(Schema):
    since: Timestamp | None = Field(None, description="Lines from this time on")
    until: Timestamp | None = Field(None, description="Lines up to this time")


class LogQuery(Span):
    tail: int = Field(DEFAULT_TAIL, ge=1, le=MAX_TAIL, description="Number of lines, the newest ones")
    q: SearchText = Field("", description="Only lines that contain this text, case-insensitive")
    around: Timestamp | None = Field(None, description="Lines before and after this time")
    instance: int | None = Field(
        None, ge=0, le=65_535, description="Only this instance; default: all, sorted by time"
    )
    stream: bool = Field(False, description="Stream new lines as plain text until the client disconnects")


class SearchQuery(Span):
    q: SearchText = Field(min_length=1, description="Literal text, case-insensitive")
    tail: int = Field(100, ge=1, le=MAX_FOUND)


@router.get("/programs/{int:program_id}/logs", auth=auth.READ, response=LinesOut)
async def logs_of_program(request: AuthedRequest, program_id: int, query: Query[LogQuery]) -> HttpResponseBase:
    """The newest matching lines, oldest first. With `around`, as many before that time as after it.

    409 if the program runs on another host: its log files are there.
    """
    if query.stream and (query.since or query.until or query.around):
        raise ValidationError({"stream": "Can only be combined with tail, q and instance."})
    logs = await sync_to_async(_program_logs)(program_id, query.instance)
    if query.stream:
        if not connections.has_room(request.auth):
            raise HttpError(429, f"You already have {MAX_CONNECTIONS} open connections; close one.")
        return _stream(request, logs, query)
    found = await sync_to_async(logs.read)(
        tail=query.tail, q=query.q, since=query.since, until=query.until, around=query.around
    )
    return HttpResponse(orjson.dumps(found), content_type="application/json")


def _program_logs(program_id: int, instance: int | None) -> ProgramLogs:
    program = program_or_404(program_id)
    refuse_logs_elsewhere(program)
    return ProgramLogs(program, instance)


@router.get("/logs", auth=auth.READ, response=FoundLinesOut)
def search_all_logs(request: HttpRequest, query: Query[SearchQuery]) -> FoundLines:
    """The newest `tail` lines of this host's programs that contain `q`. Takes about five seconds at most."""
    return search_all_programs(query.q, limit=query.tail, since=query.since, until=query.until)


# --- Following ------------------------------------------------------------------------------------------


def _stream(request: AuthedRequest, logs: ProgramLogs, query: LogQuery) -> StreamingHttpResponse:
    return StreamingHttpResponse(
        _followed(request, logs, query),
        content_type="text/plain; charset=utf-8",
        # X-Accel-Buffering stops proxies, and our own compression, from buffering lines.
        headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
    )


async def _followed(request: AuthedRequest, logs: ProgramLogs, query: LogQuery) -> AsyncIterator[bytes]:
    credentials = StreamCredentials.from_request(request)

    def may_continue() -> bool:
        principal = credentials.principal()
        is_present = Program.objects.filter(pk=logs.program.pk).exists()
        return is_present and principal is not None and principal.has_role(Role.READ)

    batches = logs.follow(tail=query.tail, q=query.q)
    with connections.hold(request.auth):
        yield b""  # sends the headers, so that the client knows it is connected before the first line
        async for lines in while_allowed(batches, sync_to_async(may_continue), RECHECK_SECONDS):
            yield "".join(map(_plain, lines)).encode()


def _plain(line: Line) -> str:
    return f"[{line['instance']}] {line['text']}\n" if "instance" in line else f"{line['text']}\n"
