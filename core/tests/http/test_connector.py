"""Connections that are kept for the next request."""

from __future__ import annotations

import socket

import pytest

from core.http import Client, RefusedError
from core.tests.http_server import OK, Reader, Writer, answering, failure, post, read_request, serving, unknown


class Keeping:
    """Responds up to `most` times on one connection, then closes it without a response."""

    def __init__(self, most: int = 1000) -> None:
        self.most = most
        self.connections = 0

    async def __call__(self, reader: Reader, writer: Writer) -> None:
        self.connections += 1
        writer.write(OK)
        for _ in range(self.most - 1):
            await read_request(reader)
            writer.write(OK)
        await read_request(reader)


async def test_two_quick_requests_to_one_host_share_a_connection(client: Client) -> None:
    answer = Keeping()
    async with serving(answer) as server, serving(answer, host="localhost") as other:
        for _ in range(3):
            assert (await client.send(post(server.url()))).peer == "127.0.0.1"
        assert answer.connections == 1
        await client.send(post(other.url(host="localhost")))
    assert answer.connections == 2


async def test_a_kept_connection_that_fails_is_replaced_once(client: Client) -> None:
    answer = Keeping(most=2)
    async with serving(answer) as server:
        for _ in range(6):
            assert (await client.send(post(server.url()))).status == 200
    assert answer.connections == 3


async def test_an_answer_cut_off_on_a_kept_connection_is_not_asked_for_again(client: Client) -> None:
    async def cut_second(reader: Reader, writer: Writer) -> None:
        writer.write(OK)
        requests.append(await read_request(reader))
        writer.write(b"HTTP/1.1 202 Accepted\r\nX-Cut")
        await writer.drain()

    requests: list[bytes] = []
    async with serving(cut_second) as server:
        assert (await client.send(post(server.url()))).status == 200
        assert (await client.send(post(server.url()))).status == 202
        assert (len(server.requests), len(requests)) == (1, 1)


async def test_a_new_connection_that_ends_without_an_answer_is_a_failure(client: Client) -> None:
    asked = 0

    async def hang_up(reader: Reader, writer: Writer) -> None:
        nonlocal asked
        asked += 1

    async with serving(hang_up) as server:
        assert (await failure(client, server.url())).kind == "reset"
    assert asked == 1, "nobody knows what became of the request, so it is not repeated here"


async def test_a_kept_connection_is_closed_when_its_name_resolves_elsewhere(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", answering(["127.0.0.1"], ["127.0.0.1"], ["127.0.0.2"]))
    answer = Keeping()
    async with serving(answer) as server:
        for _ in range(2):
            await client.send(post(server.url(host="moving.test")))
        assert (await failure(client, server.url(host="moving.test"))).kind == "refused"
    assert answer.connections == 1


async def test_a_kept_connection_is_not_used_when_the_policy_forbids_its_name(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", answering(["127.0.0.1"], ["127.0.0.1", "169.254.169.254"]))
    async with serving(Keeping()) as server:
        await client.send(post(server.url(host="rebinding.test")))
        with pytest.raises(RefusedError, match=r"169\.254\.169\.254 is link-local"):
            await client.send(post(server.url(host="rebinding.test")))
        assert len(server.requests) == 1


async def test_a_name_that_no_longer_resolves_closes_its_kept_connections(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = answering(["127.0.0.1"])
    monkeypatch.setattr(socket, "getaddrinfo", known)
    async with serving(Keeping()) as server:
        await client.send(post(server.url(host="gone.test")))
        monkeypatch.setattr(socket, "getaddrinfo", unknown)
        assert (await failure(client, server.url(host="gone.test"))).kind == "dns"
