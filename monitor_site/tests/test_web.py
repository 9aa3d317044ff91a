"""`manage.py web` as people run it: a process of its own, spoken to over real sockets."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import re
import shutil
import signal
import socket
import struct
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import psutil
import pytest

from monitor_site.web_server import MAX_BODY_BYTES, MAX_LINE_BYTES, MAX_MESSAGE_BYTES

from .installation import Installation, free_port, wait_until

SECONDS_TO_STOP = 5


@dataclass
class Web:
    installation: Installation
    process: psutil.Popen
    port: int
    token: str

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"}

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[Any, bytes]:
        """The answer and its body, over a connection of its own."""
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)) as connection:
            connection.request(method, path, body, {**self.headers, **headers})
            answer = connection.getresponse()
            return answer, answer.read()

    def add_program(self, name: str) -> int:
        body = json.dumps({"name": name, "command": "sleep 1"}).encode()
        answer, content = self.ask("POST", "/api/programs", body, **{"Content-Type": "application/json"})
        assert answer.status == 201, content
        identifier: int = json.loads(content)["id"]
        return identifier


@pytest.fixture(scope="session")
def with_token(migrated_database: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A database with an administrator, and a token of theirs."""
    template = Installation(tmp_path_factory.mktemp("with-token"))
    shutil.copy(migrated_database, template.database)
    template.query(
        "INSERT INTO auth_user (id, password, is_superuser, username, last_name, email, is_staff, is_active,"
        " date_joined, first_name) VALUES (1, '!', 1, 'root', '', '', 1, 1, '2026-01-01', '')"
    )
    made = template.run("token", "create", "--user", "root", "--scope", "admin")
    (clear,) = re.findall(r"pm_[0-9a-z]{8}_\S{43}", made.stdout)
    return template.database, clear


@contextlib.contextmanager
def started(installation: Installation, with_token: tuple[Path, str]) -> Iterator[Web]:
    database, clear = with_token
    shutil.copy(database, installation.database)
    port = free_port()
    process = installation.start("manage.py", "web", "--bind", f"127.0.0.1:{port}")
    try:
        wait_until(lambda: is_listening(port))
        yield Web(installation, process, port, clear)
    finally:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
        process.wait()


@pytest.fixture(scope="module")
def web(with_token: tuple[Path, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    """A server that all tests share; who stops it takes one of its own."""
    with started(Installation(tmp_path_factory.mktemp("web") / "data"), with_token) as found:
        yield found


@pytest.fixture
def own_web(empty_installation: Installation, with_token: tuple[Path, str]) -> Iterator[Web]:
    with started(empty_installation, with_token) as found:
        yield found


def is_listening(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


@contextlib.asynccontextmanager
async def opened(web: Web, path: str, **options: Any) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
    async with (
        aiohttp.ClientSession(web.url, headers=web.headers) as session,
        session.ws_connect(path, max_msg_size=0, **options) as found,
    ):
        yield found


def test_it_serves_the_admin_the_api_and_static_files(web: Web) -> None:
    for path, status in (("/admin/login/", 200), ("/api/status", 200), ("/static/admin/css/base.css", 200)):
        answer, body = web.ask("GET", path)
        assert (answer.status, bool(body)) == (status, True), path
        assert answer.getheader("Server") is None
        assert answer.getheader("Content-Security-Policy")


def test_connections_are_kept_and_threads_reused(web: Web) -> None:
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", web.port, timeout=60)) as connection:
        for _ in range(50):
            connection.request("GET", "/api/status", headers=web.headers)
            assert json.loads(connection.getresponse().read())["full"]
    assert psutil.Process(web.process.pid).num_threads() < 20


@pytest.mark.parametrize("is_chunked", [False, True])
def test_a_body_too_long_is_refused_and_not_kept(web: Web, is_chunked: bool) -> None:
    before = psutil.Process(web.process.pid).memory_info().rss
    chunks = (b"x" * 65536 for _ in range(800))  # 50 MB
    body = chunks if is_chunked else b"x" * (50 * 1024 * 1024)
    answer, content = web.ask("POST", "/api/programs", body, **{"Content-Type": "application/json"})
    assert (answer.status, answer.getheader("Content-Type")) == (413, "application/problem+json")
    assert json.loads(content)["detail"] == f"At most {MAX_BODY_BYTES} bytes."
    assert psutil.Process(web.process.pid).memory_info().rss - before < 20 * 1024 * 1024


async def test_a_status_longer_than_any_limit_on_what_comes_in_goes_out(own_web: Web) -> None:
    first = own_web.add_program("p1")
    special = {"id": "n", "name": "'p' || n", "tags": "json_array(hex(zeroblob(600)))"}
    columns = [row[1] for row in own_web.installation.query("PRAGMA table_info(programs_program)")]
    copied = ", ".join(special.get(name, f'"{name}"') for name in columns)
    own_web.installation.query(
        "WITH RECURSIVE numbers(n) AS (SELECT 1000 UNION ALL SELECT n + 1 FROM numbers WHERE n < 2000) "
        f"INSERT INTO programs_program SELECT {copied} FROM numbers, programs_program p WHERE p.id = ?",
        first,
    )
    async with opened(own_web, "/ws/status/") as found, opened(own_web, "/ws/status/") as another:
        messages = [await socket.receive_str(timeout=60) for socket in (found, another)]
        assert [len(json.loads(message)["programs"]) for message in messages] == [1002, 1002]
        assert len(messages[0]) > 1024 * 1024
        await asyncio.gather(found.send_str('{"type":"resync"}'), another.send_str('{"type":"resync"}'))
        again = [await socket.receive_str(timeout=60) for socket in (found, another)]
    assert [json.loads(message)["type"] for message in again] == ["snapshot", "snapshot"]


async def close_code(socket: aiohttp.ClientWebSocketResponse) -> Any:
    """The code of the close frame that follows what was sent before it."""
    while (message := await socket.receive(timeout=60)).type is aiohttp.WSMsgType.TEXT:
        pass
    assert message.type is aiohttp.WSMsgType.CLOSE, message
    return message.data


async def test_websockets_are_neither_compressed_nor_unbounded(web: Web) -> None:
    async with opened(web, "/ws/status/", compress=15) as found:
        assert not found.compress
        await found.receive_str(timeout=60)
        await found.send_str("x" * (MAX_MESSAGE_BYTES + 1))
        assert await close_code(found) == 1009


def test_a_connection_used_before_can_become_a_websocket(web: Web) -> None:
    with socket.create_connection(("127.0.0.1", web.port), timeout=60) as client:
        client.sendall(b"GET /api/system/health HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        assert client.recv(65536).startswith(b"HTTP/1.1 503")
        client.sendall(upgrade("/ws/status/", f"Authorization: Bearer {web.token}\r\n"))
        received = b""
        while b'"type":"snapshot"' not in received:
            received += some(client)


def test_requests_sent_in_one_go_are_answered_in_turn(web: Web) -> None:
    requests = b"".join(
        f"GET /api/status HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {web.token}\r\n\r\n".encode()
        for _ in range(20)
    )
    with socket.create_connection(("127.0.0.1", web.port), timeout=60) as client:
        client.sendall(requests)
        received = b""
        while received.count(b'"full":true') < 20:
            received += some(client)
    assert received.count(b"HTTP/1.1 200") == 20


def test_many_small_frames_make_no_endless_message(web: Web) -> None:
    with socket.create_connection(("127.0.0.1", web.port), timeout=60) as client:
        client.sendall(upgrade("/ws/status/", f"Authorization: Bearer {web.token}\r\n"))
        assert client.recv(12) == b"HTTP/1.1 101"
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            for opcode in (1, 0, 0):  # text, then two continuations, none of them the last
                client.sendall(struct.pack("!BBHL", opcode, 0x80 | 126, 40_000, 0) + b"x" * 40_000)
            while client.recv(65536):
                pass


def exchange(port: int, *parts: bytes) -> bytes:
    """Everything the server answers on one connection until it closes that."""
    with socket.create_connection(("127.0.0.1", port), timeout=60) as client:
        for part in parts:
            client.sendall(part)
        received = b""
        while part := client.recv(65536):
            received += part
    return received


LONG = "x" * (MAX_LINE_BYTES + 1)
CLOSE = "Connection: close\r\n"


@pytest.mark.parametrize("length", [MAX_LINE_BYTES + 1, 100_000, 1_000_000])
def test_an_address_too_long_is_refused_with_414(web: Web, length: int) -> None:
    answer = exchange(web.port, f"GET /{'x' * length} HTTP/1.1\r\nHost: a\r\n{CLOSE}\r\n".encode())
    assert answer.startswith(b"HTTP/1.1 414 ")


@pytest.mark.parametrize(
    "headers", [f"Cookie: {LONG}\r\n", "A: b\r\n" * 101, f"A: {'x' * 7000}\r\n" * 5, f"A: {'x' * 1_000_000}\r\n"]
)
def test_headers_too_long_or_too_many_are_refused_with_431(web: Web, headers: str) -> None:
    answer = exchange(web.port, f"GET /api/status HTTP/1.1\r\nHost: a\r\n{CLOSE}{headers}\r\n".encode())
    assert answer.startswith(b"HTTP/1.1 431 ")


@pytest.mark.parametrize(("path", "headers", "status"), [(f"/{LONG}", "", 414), ("/", f"Cookie: {LONG}\r\n", 431)])
def test_a_websocket_with_a_head_too_long_is_refused_the_same_way(
    web: Web, path: str, headers: str, status: int
) -> None:
    with socket.create_connection(("127.0.0.1", web.port), timeout=60) as client:
        client.sendall(upgrade(path, headers))
        assert client.recv(65536).startswith(f"HTTP/1.1 {status} ".encode())


def test_requests_after_each_other_may_together_be_longer_than_one_head(web: Web) -> None:
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", web.port, timeout=60)) as connection:
        for _ in range(20):
            connection.request("GET", "/api/status", headers={**web.headers, "X-Filler": "x" * 4000})
            answer = connection.getresponse()
            assert (answer.status, bool(answer.read())) == (200, True)


async def test_a_burst_of_500_connections_is_accepted(web: Web) -> None:
    async def ask() -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", web.port)
        writer.write(b"GET /static/admin/css/base.css HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
        line = await reader.readline()
        writer.close()
        return line

    process = psutil.Process(web.process.pid)
    process.suspend()  # so that all of them wait in the backlog
    try:
        asked = [asyncio.create_task(ask()) for _ in range(500)]
        await asyncio.sleep(0.5)
        process.resume()
        lines = await asyncio.wait_for(asyncio.gather(*asked), 60)
    finally:
        process.resume()
    assert set(lines) == {b"HTTP/1.1 200 OK\r\n"}


def some(client: socket.socket) -> bytes:
    received = client.recv(65536)
    assert received, "closed by the server"
    return received


def upgrade(path: str, headers: str = "") -> bytes:
    """The request that opens a websocket, by hand."""
    start = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    key = "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: eHh4eHh4eHh4eHh4eHh4eA==\r\n"
    return f"{start}{key}{headers}\r\n".encode()


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer pm_wrong"}])
async def test_strangers_get_no_socket(web: Web, headers: dict[str, str]) -> None:
    async with aiohttp.ClientSession(web.url, headers=headers) as session:
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await session.ws_connect("/ws/status/")
    assert refused.value.status == 403
    assert "Server" not in (refused.value.headers or {})


async def test_it_stops_in_order_and_in_time(own_web: Web) -> None:
    """Open sockets are told, streams end, and the process leaves with 0."""
    program = own_web.add_program("p2")
    async with (
        opened(own_web, "/ws/status/") as status,
        aiohttp.ClientSession(own_web.url, headers=own_web.headers) as session,
        session.get(f"/api/programs/{program}/logs?stream=true") as stream,
    ):
        await status.receive_str(timeout=60)
        began = time.monotonic()
        own_web.process.send_signal(signal.SIGTERM)
        assert await close_code(status) == 1001
        with contextlib.suppress(aiohttp.ClientError):
            await asyncio.wait_for(stream.content.read(), 60)
        code = await asyncio.to_thread(own_web.process.wait, SECONDS_TO_STOP)
    assert (code, time.monotonic() - began < SECONDS_TO_STOP) == (0, True)
    assert "Traceback" not in own_web.installation.printed()


async def test_sockets_that_are_gone_do_not_hold_up_the_stop(own_web: Web) -> None:
    for _ in range(3):
        async with opened(own_web, "/ws/status/") as found:
            await found.receive_str(timeout=60)
    own_web.process.send_signal(signal.SIGTERM)
    assert await asyncio.to_thread(own_web.process.wait, SECONDS_TO_STOP) == 0
    assert "Traceback" not in own_web.installation.printed()


async def test_a_request_under_way_is_finished_before_it_stops(own_web: Web) -> None:
    program = own_web.add_program("p3")
    async with aiohttp.ClientSession(own_web.url, headers=own_web.headers) as session:
        call = asyncio.create_task(session.post(f"/api/programs/{program}/stop?wait=1"))
        await asyncio.sleep(0.3)
        own_web.process.send_signal(signal.SIGTERM)
        answer = await call
        assert answer.status == 202
    assert await asyncio.to_thread(own_web.process.wait, SECONDS_TO_STOP) == 0


async def test_a_reader_who_is_gone_is_not_followed(web: Web) -> None:
    program = web.add_program("p4")
    idle = psutil.Process(web.process.pid).num_threads()
    for _ in range(5):
        async with aiohttp.ClientSession(web.url, headers=web.headers) as session:
            await session.get(f"/api/programs/{program}/logs?stream=true")
    await asyncio.to_thread(wait_until, lambda: psutil.Process(web.process.pid).num_threads() <= idle + 6)
    answer, _ = web.ask("GET", "/api/status")
    assert answer.status == 200


# --- Without a running server ---------------------------------------------------------------------------


def test_a_taken_port_is_told_in_one_line(installation: Installation) -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        result = installation.run("web", "--bind", f"127.0.0.1:{port}")
    assert result.returncode == 1
    (line,) = result.stderr.strip().splitlines()
    assert f"Port {port} is in use" in line


@pytest.mark.parametrize(
    ("bind", "said"),
    [
        ("nonsense", "which is not an address to listen on"),
        ("0.0.0.0:8000", "ALLOWED_HOSTS"),
        ("203.0.113.9:8000", "203.0.113.9"),
    ],
)
def test_an_address_that_cannot_be_used_is_explained(installation: Installation, bind: str, said: str) -> None:
    hosts = {"ALLOWED_HOSTS": "203.0.113.9"} if bind.startswith("203") else {}
    result = installation.run("web", "--bind", bind, **hosts)
    assert result.returncode == 1
    assert said in result.stderr
    assert "Traceback" not in result.stderr


def test_a_second_one_on_the_same_data_is_refused(web: Web) -> None:
    result = web.installation.run("web", "--bind", f"127.0.0.1:{free_port()}")
    assert result.returncode == 1
    assert "another `web` is running" in result.stderr


@pytest.fixture
def limited(installation: Installation) -> Iterator[int]:
    """The port of a server with short times, before an application that never stops sending."""
    port = free_port()
    process = installation.start("-m", "monitor_site.tests.run_endless_stream", str(port))
    wait_until(lambda: is_listening(port))
    try:
        yield port
    finally:
        process.terminate()
        assert process.wait(60) == 0


def test_a_slow_reader_does_not_grow_the_memory(limited: int) -> None:
    with contextlib.ExitStack() as stack:
        for request in (b"GET /endless HTTP/1.1\r\nHost: x\r\n\r\n", upgrade("/ws")):
            stack.enter_context(socket.create_connection(("127.0.0.1", limited))).sendall(request)
        counts = settled(limited)
    assert all(0 < count < 400 for count in counts), counts  # 25 MB, most of it in the kernel


@pytest.mark.parametrize("part", [b"", b"\r\n", b"GET /count HTTP/1.1\r\n"])
def test_a_head_that_arrives_slowly_is_timed_out(limited: int, part: bytes) -> None:
    assert exchange(limited, part).startswith(b"HTTP/1.1 408 Request Timeout\r\n")


def test_the_second_head_of_a_connection_is_timed_out_too(limited: int) -> None:
    with socket.create_connection(("127.0.0.1", limited), timeout=60) as client:
        client.sendall(b"GET /count HTTP/1.1\r\nHost: x\r\n\r\n")
        while b"\r\n0\r\n\r\n" not in some(client):
            pass
        client.sendall(b"GET /count HTTP/1.1\r\n")
        assert some(client).startswith(b"HTTP/1.1 408 ")


def test_a_body_that_does_not_arrive_is_given_up(limited: int) -> None:
    assert exchange(limited, b"POST /count HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n1234") == b""


def test_times_of_requests_do_not_end_what_lasts(limited: int) -> None:
    with socket.create_connection(("127.0.0.1", limited), timeout=60) as client:
        client.sendall(upgrade("/ws"))
        began = time.monotonic()
        while time.monotonic() - began < 2.5:
            some(client)


def settled(port: int) -> list[int]:
    """How many pieces were sent once that no longer changes."""
    seen: list[list[int]] = []

    def is_still() -> bool:
        time.sleep(0.2)
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=60)) as connection:
            connection.request("GET", "/count")
            seen.append([int(word) for word in connection.getresponse().read().split()])
        return len(seen) > 2 and seen[-1] == seen[-3] and all(seen[-1])

    wait_until(is_still)
    return seen[-1]
