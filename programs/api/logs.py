"""`/logs`: what programs wrote. It comes from files and may block, so it is read in threads."""

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
from programs.connection_limits import SEATS, seats, while_allowed
from programs.logs.lines import Line
from programs.logs.search import DEFAULT_TAIL, MAX_TAIL
from programs.masked_logs import FoundLines, Output, search_everywhere
from programs.models import Program
from programs.schemas import FoundLinesOut, LinesOut

from .definitions import program_or_404

router = Router(tags=["logs"])
RECHECK_SECONDS = 5.0
MAX_FOUND = 1000


class Span(Schema):
    since: Timestamp | None = Field(None, description="From this moment on")
    until: Timestamp | None = Field(None, description="Up to this moment")


class LogQuery(Span):
    tail: int = Field(DEFAULT_TAIL, ge=1, le=MAX_TAIL, description="The newest so many lines")
    q: SearchText = Field("", description="Only lines with this text, any case")
    around: Timestamp | None = Field(None, description="Lines before and after this moment")
    instance: int | None = Field(None, ge=0, le=65_535, description="Only this instance; without it all, by time")
    stream: bool = Field(False, description="Plain text, line by line as it is written, until you hang up")


class SearchQuery(Span):
    q: SearchText = Field(min_length=1, description="Literal text, any case")
    tail: int = Field(100, ge=1, le=MAX_FOUND)


@router.get("/programs/{int:program_id}/logs", auth=auth.READ, response=LinesOut)
async def logs_of_program(request: AuthedRequest, program_id: int, query: Query[LogQuery]) -> HttpResponseBase:
    """The newest lines that fit, oldest first. With `around`, as many before that moment as after it."""
    if query.stream and (query.since or query.until or query.around):
        raise ValidationError({"stream": "Goes with tail, q and instance only."})
    output = await sync_to_async(_output)(program_id, query.instance)
    if query.stream:
        if not seats.has_one_for(request.auth):
            raise HttpError(429, f"You have {SEATS} connections open already; close one.")
        return _stream(request, output, query)
    found = await sync_to_async(output.read)(
        tail=query.tail, q=query.q, since=query.since, until=query.until, around=query.around
    )
    return HttpResponse(orjson.dumps(found), content_type="application/json")


def _output(program_id: int, instance: int | None) -> Output:
    return Output(program_or_404(program_id), instance)


@router.get("/logs", auth=auth.READ, response=FoundLinesOut)
def search_all_logs(request: HttpRequest, query: Query[SearchQuery]) -> FoundLines:
    """Lines of all programs that hold `q`: the newest `tail` of them, in at most about five seconds."""
    return search_everywhere(query.q, limit=query.tail, since=query.since, until=query.until)


# --- Following ------------------------------------------------------------------------------------------


def _stream(request: AuthedRequest, output: Output, query: LogQuery) -> StreamingHttpResponse:
    return StreamingHttpResponse(
        _followed(request, output, query),
        content_type="text/plain; charset=utf-8",
        # The last one asks proxies, and our own compression, to pass every line on at once.
        headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
    )


async def _followed(request: AuthedRequest, output: Output, query: LogQuery) -> AsyncIterator[bytes]:
    credentials = StreamCredentials.from_request(request)

    def may_go_on() -> bool:
        principal = credentials.principal()
        is_present = Program.objects.filter(pk=output.program.pk).exists()
        return is_present and principal is not None and principal.has_role(Role.READ)

    batches = output.follow(tail=query.tail, q=query.q)
    with seats.one_for(request.auth):
        yield b""  # sends the headers: the client need not wait for the first line to know that it is connected
        async for lines in while_allowed(batches, sync_to_async(may_go_on), RECHECK_SECONDS):
            yield "".join(map(_plain, lines)).encode()


def _plain(line: Line) -> str:
    return f"[{line['instance']}] {line['text']}\n" if "instance" in line else f"{line['text']}\n"
