"""Forbidden addresses are refused in every notation and when names resolve to them."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from typing import Any

import pytest

from core.http import Client, Policy, RefusedError, TransportError, send
from core.tests.http_server import answering, failure, post, serving


@pytest.mark.parametrize(
    "spelling",
    [
        "127.0.0.1",
        "localhost",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "2130706433",
        "0x7f000001",
        "017700000001",
        "127.1",
        "0",
        "0.0.0.0",
        "[::]",
        "[::1]",
        "[64:ff9b::7f00:1]",
        "[2002:7f00:1::]",
        "[::127.0.0.1]",
        "127。0。0。1",
        "１２７.0.0.1",  # noqa: RUF001  (digits of another script on purpose)
    ],
)
async def test_no_notation_reaches_the_monitor_itself(spelling: str) -> None:
    async with serving() as trap:
        async with Client(Policy(own_ports=frozenset({trap.port}))) as client:
            with pytest.raises(RefusedError):
                await client.send(post(trap.url(host=spelling)))
        assert trap.requests == []


async def test_a_name_that_resolves_to_the_monitor_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", answering(["127.0.0.1"]))
    async with serving() as trap, Client(Policy(own_ports=frozenset({trap.port}))) as client:
        with pytest.raises(RefusedError, match="the monitor itself"):
            await client.send(post(trap.url(host="innocent.test")))
        assert trap.requests == []


async def test_a_name_that_resolves_to_a_forbidden_address_later_is_refused_then(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", answering(["127.0.0.1"], ["169.254.169.254"]))
    async with serving() as server:
        assert (await client.send(post(server.url(host="rebinding.test")))).status == 200
        with pytest.raises(RefusedError, match=r"169\.254\.169\.254 is link-local"):
            await client.send(post(server.url(host="rebinding.test")))


async def test_a_name_with_one_forbidden_address_is_refused(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", answering(["127.0.0.1", "169.254.169.254"]))
    async with serving() as server:
        with pytest.raises(RefusedError):
            await client.send(post(server.url(host="mixed.test")))
        assert server.requests == []


async def test_the_address_is_checked_again_when_connecting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Even if the resolver allowed it."""
    async with serving() as trap, Client(Policy(own_ports=frozenset({trap.port}))) as client:
        monkeypatch.setattr("core.http.client.check_url", lambda url, policy: None)
        with pytest.raises(RefusedError):
            await client.send(post(trap.url()))
        assert trap.requests == []


@pytest.mark.parametrize("host", ["a" * 64 + ".example", "a..example", "\ud800.example", "xn--.example", "-", "*"])
async def test_an_impossible_host_name_is_refused_or_unknown(client: Client, host: str) -> None:
    with pytest.raises((RefusedError, TransportError)) as caught:
        await client.send(post(f"http://{host}/secret-token"), deadline=5)
    assert "secret-token" not in str(caught.value)
    assert getattr(caught.value, "kind", "dns") == "dns"


async def test_another_policy_applies_to_one_request(client: Client) -> None:
    async with serving() as server:
        with pytest.raises(RefusedError):
            await send(client, post(server.url()), policy=Policy("public"), deadline=2)
        assert (await send(client, post(server.url()), policy=Policy(), deadline=5)).status == 200


async def test_a_name_that_does_not_resolve_delays_no_other(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, is_over = socket.getaddrinfo, threading.Event()

    def look_up(host: str, *args: Any, **kwargs: Any) -> Any:
        if host.endswith(".test"):
            is_over.wait(60)
        return real(host, *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    async with serving(host="localhost") as server:
        slow = [asyncio.create_task(failure(client, f"http://dead{n % 3}.test/", deadline=0.5)) for n in range(60)]
        await asyncio.sleep(0)
        started = time.monotonic()
        await client.send(post(server.url(host="localhost")))
        assert time.monotonic() - started < 1
        kinds = {error.kind for error in await asyncio.gather(*slow)}
        is_over.set()
        assert kinds == {"timeout"}
