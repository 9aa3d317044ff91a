from __future__ import annotations

import pytest
from channels.testing import WebsocketCommunicator

from monitor_site.asgi import application
from programs.consumers import NOT_FOUND, UNAUTHENTICATED

HEADERS = [(b"host", b"localhost:8000"), (b"origin", b"http://localhost:8000")]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    "path",
    ["/ws/status/", "/ws/programs/1/logs/", "/ws/programs/1/metrics/", "/ws/metrics/host/"],
)
async def test_every_websocket_refuses_anonymous_users(path: str) -> None:
    socket = WebsocketCommunicator(application, path, headers=HEADERS)
    assert await socket.connect(timeout=30) == (False, UNAUTHENTICATED)
    await socket.disconnect()


@pytest.mark.parametrize("path", ["/ws/nope/", "/ws/programs/x/logs/", "/", "/api/status"])
async def test_an_unknown_websocket_address_is_refused_without_an_error(path: str) -> None:
    socket = WebsocketCommunicator(application, path, headers=HEADERS)
    assert await socket.connect(timeout=30) == (False, NOT_FOUND)
    await socket.disconnect()
