"""Websocket clients for tests, without a server."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from asgiref.sync import sync_to_async
from channels.routing import URLRouter
from channels.testing import WebsocketCommunicator
from django.contrib.auth.models import User
from django.test import Client
from django.urls import URLPattern

from core.access import Role

from .api_rig import token

HOST = (b"host", b"localhost:8000")
OWN_ORIGIN = (b"origin", b"http://localhost:8000")
token_async = sync_to_async(token)


def bearer(clear: str) -> tuple[bytes, bytes]:
    return (b"authorization", f"Bearer {clear}".encode())


@sync_to_async
def session_of(user: User) -> tuple[bytes, bytes]:
    client = Client()
    client.force_login(user)
    return (b"cookie", f"sessionid={client.cookies['sessionid'].value}".encode())


class SocketRig:
    def __init__(self, routes: Sequence[URLPattern]) -> None:
        self._router = URLRouter(routes)

    def socket(self, path: str, *headers: tuple[bytes, bytes]) -> WebsocketCommunicator:
        return WebsocketCommunicator(self._router, path, headers=[HOST, *headers])

    @asynccontextmanager
    async def opened(self, path: str, *headers: tuple[bytes, bytes]) -> AsyncIterator[WebsocketCommunicator]:
        """With a new read token, unless `headers` are given."""
        found = self.socket(path, *(headers or [bearer(await token_async(Role.READ))]))
        assert (await found.connect(timeout=60))[0]
        try:
            yield found
        finally:
            await found.disconnect(timeout=60)

    async def refusal(self, path: str, *headers: tuple[bytes, bytes]) -> int:
        """The close code of a refused connection."""
        found = self.socket(path, *headers)
        is_open, code = await found.connect(timeout=60)
        assert not is_open
        await found.disconnect()
        assert isinstance(code, int)
        return code


async def close_code(found: WebsocketCommunicator, seconds: float = 60) -> int:
    """Waits for the close and skips other messages."""
    async with asyncio.timeout(seconds):
        while (message := await found.receive_output(seconds))["type"] != "websocket.close":
            pass
    code: int = message["code"]
    return code


async def receive(found: WebsocketCommunicator, type_: str) -> Any:
    async with asyncio.timeout(60):
        while True:
            message = json.loads(await found.receive_from(timeout=60))
            if message["type"] == type_:
                return message
