"""Requests, responses and their limits."""

from __future__ import annotations

import asyncio
import gzip
import socket
import subprocess
import sys
import tracemalloc
from pathlib import Path

import pytest

from core.http import Client, OutgoingRequest, Policy, RefusedError, TransportError
from core.tests.http_server import OK, Reader, Writer, answering, failure, free_port, post, serving

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


@pytest.mark.parametrize(
    ("typed", "sent"),
    [
        ("/%7Euser/%41%2f%2F", "/%7Euser/%41%2f%2F"),
        ("/a/%2e%2e/../b//c;v=1,2", "/a/%2e%2e/../b//c;v=1,2"),
        ("/?a=%3d&b=%C3%a4&c=a+b%2B%20&c=&d&a=1", "/?a=%3d&b=%C3%a4&c=a+b%2B%20&c=&d&a=1"),
        ("/?next=https://b.example/?x=1&y[]=2", "/?next=https://b.example/?x=1&y[]=2"),
        ("?a=%41", "/?a=%41"),
        ("", "/"),
        ('/ä|"<>^`{}?ü=100%&a=%zz#part', "/%C3%A4%7C%22%3C%3E%5E%60%7B%7D?%C3%BC=100%25&a=%25zz"),
    ],
)
async def test_the_percent_encoding_of_a_url_stays_as_typed(client: Client, typed: str, sent: str) -> None:
    async with serving() as server:
        await client.send(post(server.url(typed)))
    assert server.requests[0].startswith(f"POST {sent} HTTP/1.1\r\nHost: 127.0.0.1:".encode())


async def test_a_host_name_in_other_letters_is_sent_in_ascii(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", answering(["127.0.0.1"]))
    async with serving() as server:
        await client.send(post(server.url("/%7e", host="BÜCHER.test")))
    assert f"Host: xn--bcher-kva.test:{server.port}".encode() in server.requests[0]


async def test_it_takes_the_way_over_a_name_and_over_ipv6(client: Client) -> None:
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
        (b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n", b"a"),
        (b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\n", b"X-Slow: a\r\n"),
    ],
    ids=["header", "headers", "body", "chunks", "body without length", "after an interim response"],
)
async def test_a_byte_at_a_time_after_the_status_line_is_an_answer_within_the_deadline(
    client: Client, first: bytes, drop: bytes
) -> None:
    async with serving(lambda reader, writer: drip(writer, first, drop)) as server:
        response = await client.send(post(server.url()), deadline=0.5)
    assert (response.status, response.peer) == (200, "127.0.0.1")


@pytest.mark.parametrize(
    ("first", "drop"),
    [
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
        (b"HTTP/1.1 2", b"0"),
        (b"HTTP/1.1 102 P\r\n", b"X-A: HTTP/1.1 200 OK\r\n"),
    ],
    ids=["interim responses", "status line", "headers of an interim response"],
)
async def test_without_a_final_status_line_there_is_no_answer(client: Client, first: bytes, drop: bytes) -> None:
    async with serving(lambda reader, writer: drip(writer, first, drop)) as server:
        error = await failure(client, server.url(), deadline=0.5)
    assert error.kind in ("timeout", "malformed") and error.connected


async def test_an_endless_body_does_not_hold_the_request_until_the_deadline(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("core.http.client.BODY_SECONDS", 0.3)
    first = b"HTTP/1.1 500 X\r\nTransfer-Encoding: chunked\r\n\r\n"
    async with serving(lambda reader, writer: drip(writer, first, b"1\r\na\r\n")) as server:
        response = await asyncio.wait_for(client.send(post(server.url()), deadline=3600), 60)
    assert response.status == 500 and response.body_head.startswith(b"aa")


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


HEAD = b"HTTP/1.1 429 Slow down\r\nRetry-After: 7\r\n"


@pytest.mark.parametrize(
    "rest",
    [
        b"X-A: b\r\n" * 100_000,
        b"X-A: " + b"b" * 200_000 + b"\r\n\r\n",
        b"Set-Cookie: " + b"b" * 20_000 + b"\r\nContent-Length: 0\r\n\r\n",
        b"X-A: b\r\n" * 300 + b"Content-Length: 0\r\n\r\n",
        b"Content-Length: 2\r\nContent-Length: 3\r\n\r\nabc",
        b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\nab",
        b"Content-Length: two\r\n\r\nab",
        b"Transfer-Encoding: chunked\r\n\r\nzz\r\nab",
        b"Bad Name: a\r\nno colon\r\n\r\n",
        b"X-A: \x00\r\n\r\n",
        b"X-Cut: a",
        b"Content-Length: 10\r\n\r\nabc",
        b"Transfer-Encoding: chunked\r\n\r\n5\r\nab",
    ],
    ids=[
        "headers without end", "line without end", "huge header", "many headers", "doubled length",
        "two framings", "length no number", "chunk length no number", "bad names", "null byte", "cut header",
        "cut body", "cut chunk",
    ],
)  # fmt: skip
async def test_after_the_status_line_nothing_can_spoil_the_answer(client: Client, rest: bytes) -> None:
    async with serving(HEAD + rest) as server:
        response = await client.send(post(server.url()))
    assert (response.status, response.headers["retry-after"], response.peer) == (429, "7", "127.0.0.1")
    assert "x-cut" not in response.headers, "half a header says something else"
    assert len(server.requests) == 1


async def test_a_status_line_alone_is_an_answer(client: Client) -> None:
    for line in (
        b"HTTP/1.1 204 No Content\r\n",
        b"HTTP/1.1 200 \r\n",
        b"HTTP/1.0 201 \n",
        b"HTTP/1.1 202\r\n",
        b"HTTP/1.1 200 O",
    ):
        async with serving(line) as server:
            assert (await client.send(post(server.url()))).status == int(line[9:12])


async def test_an_answer_before_the_request_was_read_counts(client: Client) -> None:
    async def hasty(reader: Reader, writer: Writer) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n")
        await writer.drain()

    listening = await asyncio.start_server(hasty, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}/"
    response = await client.send(post(url, b"a" * 50_000_000), deadline=0.5)
    listening.close()
    assert response.status == 200


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
        (b"HTTP/1.1 200", "reset"),
        (b"HTTP/1.1 100 Continue\r\n\r\n", "reset"),
        (b"220 mail.example ESMTP\r\n\r\n", "malformed"),
        (b"\x15\x03\x01\x00\x02\x02\x16" * 40, "malformed"),
        (b"HTTP/1.1 abc\r\n\r\n", "malformed"),
    ],
    ids=["nothing", "cut status", "interim only", "smtp", "binary", "status"],
)
async def test_what_has_no_status_line_is_no_answer(client: Client, answer: bytes, kind: str) -> None:
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
