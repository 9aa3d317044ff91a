"""The websockets: `/ws/status/` and `/ws/programs/{id}/logs/`. What they send: docs/api.md."""

# Channels has no types for what a consumer inherits.
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
from core.rest.auth import StreamCredentials, is_own_origin

from . import feed
from .connection_limits import TooManyConnectionsError, seats, while_allowed
from .logs.search import DEFAULT_TAIL, MAX_TAIL
from .masked_logs import Output
from .models import Program
from .payloads import ErrorMessage, Lines

log = structlog.get_logger(__name__)
Q = TypeVar("Q", bound=Schema)
LONGEST_MESSAGE = 64 * 1024
BAD_QUERY, UNKNOWN, REFUSED, GONE, TOO_MANY = 4400, 4401, 4403, 4404, 4429


class RefusedError(Exception):
    """Why a socket is not opened."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


class Socket(AsyncWebsocketConsumer):
    """One that is let in by token or session and sends what `messages` yields, for as long as it may."""

    channel_layer_alias = ""  # none: the feed reaches every socket of its process by itself
    recheck_seconds = 30.0
    principal: Principal

    async def connect(self) -> None:
        self.open = AsyncExitStack()
        self.work: asyncio.Task[None] | None = None
        try:
            await self.admit()
        except RefusedError as error:
            await self.close(error.code)
            return
        await self.accept()
        self.work = asyncio.create_task(self.serve())

    async def admit(self) -> None:
        """Raises RefusedError. Nothing is accepted before this has passed."""
        headers = {name.decode("latin1"): value.decode("latin1") for name, value in self.scope["headers"]}
        self.credentials = StreamCredentials.from_headers(headers)
        # A page of somebody else can make a browser send its cookies along, but not a token.
        if not is_own_origin(headers) and ("origin" in headers or self.credentials.token is None):
            raise RefusedError(REFUSED)
        principal = await database_sync_to_async(self.credentials.principal)()
        if principal is None:
            raise RefusedError(UNKNOWN)
        if not principal.has_role(Role.READ):
            raise RefusedError(REFUSED)
        try:
            self.open.enter_context(seats.one_for(principal))
        except TooManyConnectionsError:
            raise RefusedError(TOO_MANY) from None

    def query_as(self, kind: type[Q]) -> Q:
        """The query of the address. Raises RefusedError where it makes no sense."""
        try:
            return kind.model_validate(dict(parse_qsl(self.scope["query_string"].decode("latin1"))))
        except ValidationError:
            raise RefusedError(BAD_QUERY) from None

    async def serve(self) -> None:
        try:
            async for text in while_allowed(self.messages(), self.may_stay, self.recheck_seconds):
                await self.send(text_data=text)
            code = REFUSED
        except RefusedError as error:
            code = error.code
        except Exception:
            log.exception("socket.failed", path=self.scope["path"])
            code = 1011
        await self.close(code)

    async def may_stay(self) -> bool:
        allowed: bool = await database_sync_to_async(self.is_still_allowed)()
        return allowed

    def is_still_allowed(self) -> bool:
        principal = self.credentials.principal()
        return principal is not None and principal.has_role(Role.READ)

    def messages(self) -> AsyncGenerator[str, None]:
        raise NotImplementedError

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        if self.work is None or len(text_data or bytes_data or "") > LONGEST_MESSAGE:
            await self.close(1009)
            return
        try:
            message = orjson.loads(text_data or "")
        except orjson.JSONDecodeError:
            message = None
        if not await self.understood(message):
            answer: ErrorMessage = {"type": "error", "detail": "This message is not understood."}
            await self.send(text_data=orjson.dumps(answer).decode())

    async def understood(self, message: Any) -> bool:
        return False

    async def disconnect(self, code: int) -> None:
        if self.work is not None:
            self.work.cancel()
            await asyncio.gather(self.work, return_exceptions=True)
        await self.open.aclose()


class StatusSocket(Socket):
    """Everything once, then what changes. After a loss, or when asked to resync, everything again."""

    snapshot_seconds = 1.0  # at most one full state in this time
    mailbox: feed.Mailbox | None = None

    async def messages(self) -> AsyncGenerator[str, None]:
        loop = asyncio.get_running_loop()
        async with feed.current().watch() as self.mailbox:
            message: feed.Message | None = None
            while True:
                if message is None:
                    text, sent_at = await feed.current().snapshot(), loop.time()
                else:
                    text = message.text
                yield text
                message = await self.mailbox.take()
                if message is None:
                    await asyncio.sleep(sent_at + self.snapshot_seconds - loop.time())

    async def understood(self, message: Any) -> bool:
        if message != {"type": "resync"}:
            return False
        if self.mailbox is not None:
            self.mailbox.start_over()
        return True


class LogQuery(Schema):
    model_config = ConfigDict(extra="forbid")

    tail: int = Field(DEFAULT_TAIL, ge=0, le=MAX_TAIL)
    instance: int | None = Field(None, ge=0, le=65_535)


class ProgramSocket(Socket):
    """About the one program that the address names; ends when that is removed."""

    recheck_seconds = 5.0
    program: Program

    async def admit(self) -> None:
        await super().admit()
        await database_sync_to_async(self.prepare)()

    def prepare(self) -> None:
        """Raises RefusedError. Has the database."""
        program = Program.objects.filter(pk=self.scope["url_route"]["kwargs"]["program_id"]).first()
        if program is None:
            raise RefusedError(GONE)
        self.program = program

    def is_still_allowed(self) -> bool:
        if not Program.objects.filter(pk=self.program.pk).exists():
            raise RefusedError(GONE)
        return super().is_still_allowed()


class LogSocket(ProgramSocket):
    """The last lines of a program, then each as it is written."""

    output: Output
    query: LogQuery

    def prepare(self) -> None:
        self.query = self.query_as(LogQuery)
        super().prepare()
        self.output = Output(self.program, self.query.instance)

    async def messages(self) -> AsyncGenerator[str, None]:
        async for lines in self.output.follow(tail=self.query.tail):
            message: Lines = {"type": "lines", "lines": lines}
            yield orjson.dumps(message).decode()


routes = [
    path("ws/status/", StatusSocket.as_asgi()),
    path("ws/programs/<int:program_id>/logs/", LogSocket.as_asgi()),
]
