"""Requests, responses and their limits."""

from __future__ import annotations

import asyncio
import gzip
import socket
import subprocess
import sys
import time
import tracemalloc
from pathlib import Path

import pytest

from core.http import Client, OutgoingRequest, Policy, RefusedError, TransportError
from core.tests.http_server import OK, Reader, Writer, failure, free_port, post, serving

ROOT = Path(__file__).resolve().parents[3]


async def test_it_sends_exactly_the_bytes_and_returns_the_response(client: Client) -> None:
    async with serving() as server:
        response = await client.send(post(server.url("/a%2Fb?c=%20d"), b'{"a": "\xc3\xa9"}', **{"X-Own": "1"}))
    head, _, body = server.requests[0].partition(b"\r\n\r\n")
    assert body == b'{"a": "\xc3\xa9"}'
    assert head.startswith(b"POST /a%2Fb?c=%20d HTTP/1.1\r\n")
    assert b"X-Own: 1" in head and b"User-Agent: program-monitor/" in head and b"Accept-Encoding: identity" in head
    assert (response.status, response.body_head, response.peer) == (200, b"ok", "127.0.0.1")
    assert response.headers["content-length"] == "2" and response.duration_ms < 5000


async def test_it_connects_by_name_and_by_ipv6(client: Client) -> None:
    async with serving(host="localhost") as server:
        assert (await client.send(post(server.url(host="localhost")))).status == 200
    async with serving(host="::1") as server:
        assert (await client.send(post(server.url(host="[::1]")))).peer == "::1"


@pytest.mark.parametrize("status", [204, 301, 307, 404, 410, 429, 500, 503])
async def test_every_status_is_a_response(client: Client, status: int) -> None:
    answer = f"HTTP/1.1 {status} X\r\nContent-Length: 0\r\nRetry-After: 7\r\n\r\n".encode()
    async with serving(answer) as server:
        response = await client.send(post(server.url()))
    assert (response.status, response.headers["retry-after"], response.body_head) == (status, "7", b"")


async def test_a_redirect_is_not_followed(client: Client) -> None:
    async with serving() as target:
        moved = f"HTTP/1.1 302 Found\r\nLocation: {target.url()}\r\nContent-Length: 0\r\n\r\n".encode()
        async with serving(moved) as server:
            response = await client.send(post(server.url()))
        assert (response.status, target.requests) == (302, [])


async def test_a_proxy_named_in_the_environment_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving() as proxy, serving() as server:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, proxy.url(""))
        async with Client(Policy()) as client:
            await client.send(post(server.url()))
        assert (len(server.requests), proxy.requests) == (1, [])


async def test_cookies_are_not_kept(client: Client) -> None:
    async with serving(OK.replace(b"X-Seen: a", b"Set-Cookie: a=b")) as server:
        for _ in range(2):
            await client.send(post(server.url()))
    assert all(b"Cookie" not in request for request in server.requests)


# --- Bounds ---------------------------------------------------------------------------------------------


async def drip(writer: Writer, first: bytes, drop: bytes) -> None:
    writer.write(first)
    while True:
        writer.write(drop)
        await writer.drain()
        await asyncio.sleep(0.02)


@pytest.mark.parametrize(
    ("first", "drop"),
    [
        (b"HTTP/1.1 200 OK\r\nX-Slow: ", b"a"),
        (b"HTTP/1.1 200 OK\r\n", b"X-Slow: a\r\n"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n", b"a"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\na\r\n"),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    ],
    ids=["header", "headers", "body", "chunks", "interim"],
)
async def test_a_response_of_single_bytes_stops_at_the_deadline(client: Client, first: bytes, drop: bytes) -> None:
    async with serving(lambda reader, writer: drip(writer, first, drop)) as server:
        started = time.monotonic()
        error = await failure(client, server.url(), deadline=0.5)
    assert error.kind == "timeout" or (drop.startswith(b"X-") and error.kind == "malformed")
    assert time.monotonic() - started < 3


async def test_a_server_that_does_not_respond_times_out_as_connected(client: Client) -> None:
    async with serving(lambda reader, writer: asyncio.sleep(30)) as server:
        error = await failure(client, server.url(), deadline=0.3)
    assert (error.kind, error.connected, error.text) == ("timeout", True, "No complete response within 0.3 s.")


async def test_a_server_that_does_not_read_times_out(client: Client) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        with pytest.raises(TransportError, match="timeout"):
            await client.send(post(url, b"a" * 50_000_000), deadline=0.5)


async def test_a_response_of_100_mb_takes_no_memory(client: Client) -> None:
    async def flood(reader: Reader, writer: Writer) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n")
        for _ in range(1600):
            writer.write(b"a" * 65536)
            await writer.drain()

    async with serving(flood) as server:
        tracemalloc.start()
        response = await client.send(post(server.url()))
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert (response.status, len(response.body_head)) == (200, 4096)
    assert peak < 5_000_000


async def test_a_compressed_response_is_not_decompressed(client: Client) -> None:
    bomb = gzip.compress(b"\0" * 50_000_000)
    head = f"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {len(bomb)}\r\n\r\n".encode()
    async with serving(head + bomb) as server:
        response = await client.send(post(server.url()))
    assert response.body_head == bomb[:4096]


async def test_endless_headers_are_an_error(client: Client) -> None:
    async with serving(b"HTTP/1.1 200 OK\r\n" + b"X-A: b\r\n" * 100_000) as server:
        error = await failure(client, server.url())
    assert error.kind == "malformed"


# --- Failures -------------------------------------------------------------------------------------------


async def test_a_closed_port_is_an_error_without_connection(client: Client) -> None:
    error = await failure(client, f"http://127.0.0.1:{free_port()}/secret-token")
    assert (error.kind, error.connected) == ("refused", False)
    assert "secret-token" not in str(error) and "127.0.0.1" in error.text


async def test_an_unknown_name_is_a_dns_error(client: Client) -> None:
    error = await failure(client, "http://no-such-host.invalid/secret-token", deadline=10)
    assert (error.kind, error.connected) == ("dns", False)
    assert "secret-token" not in str(error)


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (b"", "reset"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc", "reset"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab", "reset"),
        (b"220 mail.example ESMTP\r\n\r\n", "malformed"),
        (b"\x15\x03\x01\x00\x02\x02\x16" * 40, "malformed"),
        (b"HTTP/1.1 abc\r\n\r\n", "malformed"),
    ],
    ids=["nothing", "short body", "short chunk", "smtp", "binary", "status"],
)
async def test_an_incomplete_or_missing_response_is_an_error(client: Client, answer: bytes, kind: str) -> None:
    async with serving(answer) as server:
        assert (await failure(client, server.url())).kind == kind


async def test_cancelling_a_request_is_not_a_timeout(client: Client) -> None:
    async with serving(lambda reader, writer: asyncio.sleep(30)) as server:
        task = asyncio.create_task(client.send(post(server.url())))
        await asyncio.sleep(0.1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


async def test_a_request_with_invalid_headers_is_not_sent(client: Client) -> None:
    async with serving() as server:
        with pytest.raises(RefusedError):
            await client.send(OutgoingRequest("POST", server.url(), {"X-A": "b\r\nX-B: c"}))
        assert server.requests == []


async def test_a_client_outside_of_its_context_raises_an_error() -> None:
    with pytest.raises(RuntimeError, match="async with"):
        await Client(Policy()).send(post("http://127.0.0.1/"))


def test_checking_a_url_does_not_import_the_client() -> None:
    script = (
        "import sys, core.http; core.http.check_url; sys.exit('aiohttp' in sys.modules or 'django' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", script], cwd=ROOT, timeout=60).returncode == 0
