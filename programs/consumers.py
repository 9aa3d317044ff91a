"""Websocket consumers for `/ws/status/` and `/ws/programs/{id}/logs/`. docs/api.md describes the messages."""

# The base class of Channels is untyped.
# mypy: disallow-untyped-calls=False

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack
from typing import Any, TypeVar
from urllib.parse import parse_qsl

import orjson
import structlog
from channels.db import database_sync_to_async
from channels.generic.websocket import AsyncWebsocketConsumer
from django.urls import path
from ninja import Field, Schema
from pydantic import ConfigDict, ValidationError

from core.access import Principal, Role
from core.exceptions import ConflictError
from core.rest.auth import StreamCredentials, is_own_origin

from . import feed
from .connection_limits import TooManyConnectionsError, connections, while_allowed
from .logs.search import DEFAULT_TAIL, MAX_TAIL
from .masked_logs import ProgramLogs, refuse_logs_elsewhere
from .models import Program
from .payloads import ErrorMessage, Lines

log = structlog.get_logger(__name__)
Q = TypeVar("Q", bound=Schema)
MAX_MESSAGE_BYTES = 64 * 1024
BAD_QUERY, UNAUTHENTICATED, FORBIDDEN, NOT_FOUND, ELSEWHERE, TOO_MANY = 4400, 4401, 4403, 4404, 4409, 4429


class RefusedError(Exception):
    """The connection is refused with this close code."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


class Socket(AsyncWebsocketConsumer):
    """Authenticates by token or session, then sends what `messages` yields as long as access is allowed."""

    channel_layer_alias = ""  # none: the feed reaches all sockets of its process
    recheck_seconds = 30.0
    principal: Principal

    async def connect(self) -> None:
        self.resources = AsyncExitStack()
        self.task: asyncio.Task[None] | None = None
        try:
            await self.authorize()
        except RefusedError as error:
            await self.close(error.code)
            return
        await self.accept()
        self.task = asyncio.create_task(self.serve())

    async def authorize(self) -> None:
        """Raises RefusedError. The connection is accepted only afterwards."""
        headers = {name.decode("latin1"): value.decode("latin1") for name, value in self.scope["headers"]}
        self.credentials = StreamCredentials.from_headers(headers)
        # A foreign page can make a browser send its cookies, but not a token.
        if not is_own_origin(headers) and ("origin" in headers or self.credentials.token is None):
            raise RefusedError(FORBIDDEN)
        principal = await database_sync_to_async(self.credentials.principal)()
        if principal is None:
            raise RefusedError(UNAUTHENTICATED)
        if not principal.has_role(Role.READ):
            raise RefusedError(FORBIDDEN)
        try:
            self.resources.enter_context(connections.hold(principal))
        except TooManyConnectionsError:
            raise RefusedError(TOO_MANY) from None

    def query_as(self, kind: type[Q]) -> Q:
        """Parses the query string. Raises RefusedError for invalid parameters."""
        try:
            return kind.model_validate(dict(parse_qsl(self.scope["query_string"].decode("latin1"))))
        except ValidationError:
            raise RefusedError(BAD_QUERY) from None

    async def serve(self) -> None:
        try:
            async for text in while_allowed(self.messages(), self.may_continue, self.recheck_seconds):
                await self.send(text_data=text)
            code = FORBIDDEN
        except RefusedError as error:
            code = error.code
        except Exception:
            log.exception("socket.failed", path=self.scope["path"])
            code = 1011  # internal error, RFC 6455
        await self.close(code)

    async def may_continue(self) -> bool:
        allowed: bool = await database_sync_to_async(self.is_still_allowed)()
        return allowed

    def is_still_allowed(self) -> bool:
        principal = self.credentials.principal()
        return principal is not None and principal.has_role(Role.READ)

    def messages(self) -> AsyncGenerator[str, None]:
        raise NotImplementedError

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        if self.task is None or len(text_data or bytes_data or "") > MAX_MESSAGE_BYTES:
            await self.close(1009)  # message too big, RFC 6455
            return
        try:
            message = orjson.loads(text_data or "")
        except orjson.JSONDecodeError:
            message = None
        if not await self.handle_message(message):
            error: ErrorMessage = {"type": "error", "detail": "Unknown message."}
            await self.send(text_data=orjson.dumps(error).decode())

    async def handle_message(self, message: Any) -> bool:
        """Returns False for an unknown message."""
        return False

    async def disconnect(self, code: int) -> None:
        if self.task is not None:
            self.task.cancel()
            await asyncio.gather(self.task, return_exceptions=True)
        await self.resources.aclose()


class StatusSocket(Socket):
    """A snapshot, then changes. Another snapshot after lost messages, or when the client requests a resync."""

    snapshot_seconds = 1.0  # at most one snapshot in this time
    subscription: feed.Subscription | None = None

    async def messages(self) -> AsyncGenerator[str, None]:
        loop = asyncio.get_running_loop()
        async with feed.current().subscribe() as self.subscription:
            message: feed.Message | None = None
            while True:
                if message is None:
                    text, sent_at = await feed.current().snapshot(), loop.time()
                else:
                    text = message.text
                yield text
                message = await self.subscription.get()
                if message is None:
                    await asyncio.sleep(sent_at + self.snapshot_seconds - loop.time())

    async def handle_message(self, message: Any) -> bool:
        if message != {"type": "resync"}:
            return False
        if self.subscription is not None:
            self.subscription.require_resync()
        return True


class LogQuery(Schema):
    model_config = ConfigDict(extra="forbid")

    tail: int = Field(DEFAULT_TAIL, ge=0, le=MAX_TAIL)
    instance: int | None = Field(None, ge=0, le=65_535)


class ProgramSocket(Socket):
    """For one program; closes when the program is removed."""

    recheck_seconds = 5.0
    program: Program

    async def authorize(self) -> None:
        await super().authorize()
        await database_sync_to_async(self.prepare)()

    def prepare(self) -> None:
        program = Program.objects.filter(pk=self.scope["url_route"]["kwargs"]["program_id"]).first()
        if program is None:
            raise RefusedError(NOT_FOUND)
        self.program = program

    def is_still_allowed(self) -> bool:
        if not Program.objects.filter(pk=self.program.pk).exists():
            raise RefusedError(NOT_FOUND)
        return super().is_still_allowed()


class LogSocket(ProgramSocket):
    """The last lines of the log, then new lines. An error and close code 4409 if the log is on another host."""

    logs: ProgramLogs
    query: LogQuery
    refusal: str

    def prepare(self) -> None:
        self.query = self.query_as(LogQuery)
        super().prepare()
        self.logs = ProgramLogs(self.program, self.query.instance)
        self.refusal = ""
        try:
            refuse_logs_elsewhere(self.program)
        except ConflictError as error:
            self.refusal = str(error)

    async def messages(self) -> AsyncGenerator[str, None]:
        if self.refusal:  # after accepting: browsers do not report why a connection was refused
            error: ErrorMessage = {"type": "error", "detail": self.refusal}
            yield orjson.dumps(error).decode()
            raise RefusedError(ELSEWHERE)
        async for lines in self.logs.follow(tail=self.query.tail):
            message: Lines = {"type": "lines", "lines": lines}
            yield orjson.dumps(message).decode()


routes = [
    path("ws/status/", StatusSocket.as_asgi()),
    path("ws/programs/<int:program_id>/logs/", LogSocket.as_asgi()),
]
