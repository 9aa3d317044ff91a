from __future__ import annotations

import asyncio
import gzip
import os
import socket
import subprocess
import sys
import threading
import time
import tracemalloc
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from core.http import Client, OutgoingRequest, Policy, RefusedError, Tls, TransportError, send

from .http_rig import OK, answering, certificate, free_port, read_request, serving, unknown

Reader = asyncio.StreamReader
Writer = asyncio.StreamWriter
ROOT = Path(__file__).resolve().parents[2]


@pytest_asyncio.fixture
async def client() -> AsyncIterator[Client]:
    async with Client(Policy()) as client:
        yield client


def post(url: str, body: bytes = b"{}", **headers: str) -> OutgoingRequest:
    return OutgoingRequest("POST", url, {"Content-Type": "application/json", **headers}, body)


async def failure(client: Client, url: str, deadline: float = 5) -> TransportError:
    with pytest.raises(TransportError) as caught:
        await client.send(post(url), deadline=deadline)
    return caught.value


async def test_it_hands_over_exactly_the_bytes_and_says_what_came_back(client: Client) -> None:
    async with serving() as server:
        response = await client.send(post(server.url("/a%2Fb?c=%20d"), b'{"a": "\xc3\xa9"}', **{"X-Own": "1"}))
    head, _, body = server.requests[0].partition(b"\r\n\r\n")
    assert body == b'{"a": "\xc3\xa9"}'
    assert head.startswith(b"POST /a%2Fb?c=%20d HTTP/1.1\r\n")
    assert b"X-Own: 1" in head and b"User-Agent: program-monitor/" in head and b"Accept-Encoding: identity" in head
    assert (response.status, response.body_head, response.peer) == (200, b"ok", "127.0.0.1")
    assert response.headers["content-length"] == "2" and response.duration_ms < 5000


async def test_it_takes_the_way_over_a_name_and_over_ipv6(client: Client) -> None:
    async with serving(host="localhost") as server:
        assert (await client.send(post(server.url(host="localhost")))).status == 200
    async with serving(host="::1") as server:
        assert (await client.send(post(server.url(host="[::1]")))).peer == "::1"


@pytest.mark.parametrize("status", [204, 301, 307, 404, 410, 429, 500, 503])
async def test_every_status_is_an_answer(client: Client, status: int) -> None:
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
async def test_a_byte_at_a_time_ends_at_the_deadline(client: Client, first: bytes, drop: bytes) -> None:
    async with serving(lambda reader, writer: drip(writer, first, drop)) as server:
        started = time.monotonic()
        error = await failure(client, server.url(), deadline=0.5)
    assert error.kind == "timeout" or (drop.startswith(b"X-") and error.kind == "malformed")
    assert time.monotonic() - started < 3


async def test_a_silent_server_ends_at_the_deadline_and_was_connected(client: Client) -> None:
    async with serving(lambda reader, writer: asyncio.sleep(30)) as server:
        error = await failure(client, server.url(), deadline=0.3)
    assert (error.kind, error.connected, error.text) == ("timeout", True, "No whole answer within 0.3 s.")


async def test_a_server_that_does_not_read_ends_at_the_deadline(client: Client) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        with pytest.raises(TransportError, match="timeout"):
            await client.send(post(url, b"a" * 50_000_000), deadline=0.5)


async def test_an_answer_of_100_mb_costs_no_memory(client: Client) -> None:
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


async def test_a_packed_answer_is_not_unpacked(client: Client) -> None:
    bomb = gzip.compress(b"\0" * 50_000_000)
    head = f"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {len(bomb)}\r\n\r\n".encode()
    async with serving(head + bomb) as server:
        response = await client.send(post(server.url()))
    assert response.body_head == bomb[:4096]


async def test_headers_without_end_are_no_answer(client: Client) -> None:
    async with serving(b"HTTP/1.1 200 OK\r\n" + b"X-A: b\r\n" * 100_000) as server:
        error = await failure(client, server.url())
    assert error.kind == "malformed"


# --- Kept connections -----------------------------------------------------------------------------------


class Keeping:
    """Answers on one connection as often as it is asked, up to `most` times; then it closes without a word."""

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


async def test_what_goes_to_the_same_place_soon_after_shares_a_connection(client: Client) -> None:
    answer = Keeping()
    async with serving(answer) as server, serving(answer, host="localhost") as other:
        for _ in range(3):
            assert (await client.send(post(server.url()))).peer == "127.0.0.1"
        assert answer.connections == 1
        await client.send(post(other.url(host="localhost")))
    assert answer.connections == 2


async def test_a_kept_connection_that_ends_without_an_answer_is_replaced_once(client: Client) -> None:
    answer = Keeping(most=2)
    async with serving(answer) as server:
        for _ in range(6):
            assert (await client.send(post(server.url()))).status == 200
    assert answer.connections == 3


async def test_a_new_connection_that_ends_without_an_answer_is_a_failure(client: Client) -> None:
    asked = 0

    async def hang_up(reader: Reader, writer: Writer) -> None:
        nonlocal asked
        asked += 1

    async with serving(hang_up) as server:
        assert (await failure(client, server.url())).kind == "reset"
    assert asked == 1, "nobody knows what became of the request, so it is not repeated here"


async def test_a_kept_connection_is_left_when_its_name_leads_elsewhere(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", answering(["127.0.0.1"], ["127.0.0.1"], ["127.0.0.2"]))
    answer = Keeping()
    async with serving(answer) as server:
        for _ in range(2):
            await client.send(post(server.url(host="moving.test")))
        assert (await failure(client, server.url(host="moving.test"))).kind == "refused"
    assert answer.connections == 1


async def test_a_kept_connection_does_not_outlive_the_leave_to_dial_its_name(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", answering(["127.0.0.1"], ["127.0.0.1", "169.254.169.254"]))
    async with serving(Keeping()) as server:
        await client.send(post(server.url(host="rebinding.test")))
        with pytest.raises(RefusedError, match=r"169\.254\.169\.254 is link-local"):
            await client.send(post(server.url(host="rebinding.test")))
        assert len(server.requests) == 1


async def test_a_name_that_is_known_no_more_ends_its_kept_connections(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = answering(["127.0.0.1"])
    monkeypatch.setattr(socket, "getaddrinfo", known)
    async with serving(Keeping()) as server:
        await client.send(post(server.url(host="gone.test")))
        monkeypatch.setattr(socket, "getaddrinfo", unknown)
        assert (await failure(client, server.url(host="gone.test"))).kind == "dns"


# --- Failures -------------------------------------------------------------------------------------------


async def test_a_closed_port_is_refused_and_nothing_was_received(client: Client) -> None:
    error = await failure(client, f"http://127.0.0.1:{free_port()}/secret-token")
    assert (error.kind, error.connected) == ("refused", False)
    assert "secret-token" not in str(error) and "127.0.0.1" in error.text


async def test_an_unknown_name_is_a_failure_of_dns(client: Client) -> None:
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
async def test_an_answer_cut_short_or_no_answer_at_all(client: Client, answer: bytes, kind: str) -> None:
    async with serving(answer) as server:
        assert (await failure(client, server.url())).kind == kind


async def test_whoever_cancels_is_not_told_of_a_timeout(client: Client) -> None:
    async with serving(lambda reader, writer: asyncio.sleep(30)) as server:
        task = asyncio.create_task(client.send(post(server.url())))
        await asyncio.sleep(0.1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


async def test_a_certificate_that_nobody_signed_is_not_accepted(client: Client, tmp_path: Path) -> None:
    tls, _ = certificate(tmp_path, "localhost")
    async with serving(tls=tls) as server:
        error = await failure(client, server.url(host="localhost", scheme="https"))
        assert (error.kind, error.connected, server.requests) == ("tls", False, [])
        assert "self-signed" in error.text


async def test_plain_http_behind_https_is_a_failure_of_tls(client: Client) -> None:
    async def refuse(reader: Reader, writer: Writer) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(refuse, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        assert (await failure(client, f"https://127.0.0.1:{port}/")).kind == "tls"


SEND_ONE = """
import asyncio, sys
from core.http import Client, OutgoingRequest, Policy
async def main():
    async with Client(Policy()) as client:
        print((await client.send(OutgoingRequest("POST", sys.argv[1], {}, b"{}"))).status)
asyncio.run(main())
"""


async def test_a_certificate_of_an_authority_the_machine_trusts_is_accepted(tmp_path: Path) -> None:
    tls, path = certificate(tmp_path, "localhost")
    environment = {**os.environ, "SSL_CERT_FILE": str(path), "DJANGO_SETTINGS_MODULE": "monitor_site.settings"}
    async with serving(tls=tls) as server:
        url = server.url(host="localhost", scheme="https")
        command = [sys.executable, "-c", SEND_ONE, url]
        done = await asyncio.to_thread(
            subprocess.run, command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60
        )
    assert done.stdout.strip() == "200", done.stderr


def public_part(path: Path) -> str:
    return path.read_text().partition("-----BEGIN PRIVATE")[0]


async def test_an_authority_of_the_request_counts_instead_of_the_systems(client: Client, tmp_path: Path) -> None:
    tls, path = certificate(tmp_path, "localhost")
    other = tmp_path / "other"
    other.mkdir()
    _, stranger = certificate(other, "localhost")
    async with serving(tls=tls) as server:
        url = server.url(host="localhost", scheme="https")
        trusted = OutgoingRequest("POST", url, body=b"{}", tls=Tls(authorities=public_part(path)))
        assert (await client.send(trusted)).status == 200
        wrong = OutgoingRequest("POST", url, body=b"{}", tls=Tls(authorities=public_part(stranger)))
        with pytest.raises(TransportError) as refused:
            await client.send(wrong)
        assert refused.value.kind == "tls"


async def test_verification_can_be_left_out_for_one_request(client: Client, tmp_path: Path) -> None:
    tls, _ = certificate(tmp_path, "elsewhere.example")
    async with serving(tls=tls) as server:
        url = server.url(host="localhost", scheme="https")
        assert (await client.send(OutgoingRequest("POST", url, body=b"{}", tls=Tls(verify=False)))).status == 200
        assert (await failure(client, url)).kind == "tls"


# --- The guard ------------------------------------------------------------------------------------------


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
        "１２７.0.0.1",  # noqa: RUF001  (digits of another script are the point)
    ],
)
async def test_no_spelling_reaches_the_monitor_itself(spelling: str) -> None:
    async with serving() as trap:
        async with Client(Policy(own_ports=frozenset({trap.port}))) as client:
            with pytest.raises(RefusedError):
                await client.send(post(trap.url(host=spelling)))
        assert trap.requests == []


async def test_a_name_that_leads_to_the_monitor_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", answering(["127.0.0.1"]))
    async with serving() as trap, Client(Policy(own_ports=frozenset({trap.port}))) as client:
        with pytest.raises(RefusedError, match="the monitor itself"):
            await client.send(post(trap.url(host="innocent.test")))
        assert trap.requests == []


async def test_a_name_that_resolves_differently_the_second_time_is_refused_then(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", answering(["127.0.0.1"], ["169.254.169.254"]))
    async with serving() as server:
        assert (await client.send(post(server.url(host="rebinding.test")))).status == 200
        with pytest.raises(RefusedError, match=r"169\.254\.169\.254 is link-local"):
            await client.send(post(server.url(host="rebinding.test")))


async def test_a_name_with_one_refused_address_among_good_ones_is_refused(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", answering(["127.0.0.1", "169.254.169.254"]))
    async with serving() as server:
        with pytest.raises(RefusedError):
            await client.send(post(server.url(host="mixed.test")))
        assert server.requests == []


async def test_the_address_is_checked_again_when_it_is_dialled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Even if a resolver let it through."""
    async with serving() as trap, Client(Policy(own_ports=frozenset({trap.port}))) as client:
        monkeypatch.setattr("core.http.client.check_url", lambda url, policy: None)
        with pytest.raises(RefusedError):
            await client.send(post(trap.url()))
        assert trap.requests == []


@pytest.mark.parametrize("host", ["a" * 64 + ".example", "a..example", "\ud800.example", "xn--.example", "-", "*"])
async def test_a_host_that_cannot_exist_is_refused_or_unknown(client: Client, host: str) -> None:
    with pytest.raises((RefusedError, TransportError)) as caught:
        await client.send(post(f"http://{host}/secret-token"), deadline=5)
    assert "secret-token" not in str(caught.value)
    assert getattr(caught.value, "kind", "dns") == "dns"


async def test_nothing_is_sent_with_headers_that_break_the_message(client: Client) -> None:
    async with serving() as server:
        with pytest.raises(RefusedError):
            await client.send(OutgoingRequest("POST", server.url(), {"X-A": "b\r\nX-B: c"}))
        assert server.requests == []


async def test_a_policy_of_its_own_is_obeyed(client: Client) -> None:
    async with serving() as server:
        with pytest.raises(RefusedError):
            await send(client, post(server.url()), policy=Policy("public"), deadline=2)
        assert (await send(client, post(server.url()), policy=Policy(), deadline=5)).status == 200


async def test_names_without_an_answer_delay_no_other(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
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


async def test_a_client_outside_of_its_context_says_so() -> None:
    with pytest.raises(RuntimeError, match="async with"):
        await Client(Policy()).send(post("http://127.0.0.1/"))


def test_those_who_only_check_an_address_do_not_load_the_client() -> None:
    script = (
        "import sys, core.http; core.http.check_url; sys.exit('aiohttp' in sys.modules or 'django' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", script], cwd=ROOT, timeout=60).returncode == 0
