"""Probes against real servers, ports, commands and their children."""

from __future__ import annotations

import asyncio
import contextlib
import os
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psutil
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from programs.placeholders import PlaceholderError
from programs.probes import Outcome, Probe, ProbeContext, ProbeFailedError, check, http_request

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
CONTEXT = ProbeContext(environment={"PATH": os.environ["PATH"]})


@asynccontextmanager
async def serving(handler: Handler, **options: Any) -> AsyncIterator[int]:
    """A server on a free port of the loopback; yields the port. Its handlers end with it."""
    tasks: set[asyncio.Task[None]] = set()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        with contextlib.suppress(OSError, asyncio.CancelledError):
            await handler(reader, writer)
        writer.transport.abort()

    server = await asyncio.start_server(handle, "127.0.0.1", 0, **options)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        for task in tasks:
            task.cancel()
        server.close()


def answering(text: bytes, heard: list[bytes] | None = None) -> Handler:
    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await reader.readuntil(b"\r\n\r\n")
        if heard is not None:
            heard.append(request)
        writer.write(text)
        await writer.drain()

    return handler


async def ask(kind: str, target: str, timeout: float = 5.0, context: ProbeContext = CONTEXT) -> Outcome:
    return await check(Probe(kind, target, timeout=timeout), context)


async def ask_http(answer: bytes | Handler, timeout: float = 5.0, path: str = "/") -> Outcome:
    async with serving(answering(answer) if isinstance(answer, bytes) else answer) as port:
        return await ask("http", f"http://127.0.0.1:{port}{path}", timeout)


# --- Definitions ---


def test_the_placeholder_of_the_instance_is_filled_in() -> None:
    probe = Probe.parse({"kind": "tcp", "target": "127.0.0.1:{instance+8100}", "period": 5}, 2)
    assert probe == Probe("tcp", "127.0.0.1:8102", "liveness", 5, 1, 3)


def test_a_misspelt_placeholder_is_refused() -> None:
    with pytest.raises(PlaceholderError):
        Probe.parse({"kind": "tcp", "target": "127.0.0.1:{instances}"}, 0)


@pytest.mark.parametrize(
    ("kind", "target", "label"),
    [
        ("http", "https://user:pa55@host:81/health?token=s3cret", "http https://host:81/health"),
        ("exec", "mysqladmin --password=s3cret ping", "exec mysqladmin"),
        ("tcp", "127.0.0.1:80", "tcp 127.0.0.1:80"),
    ],
)
def test_the_label_of_a_probe_holds_no_secret(kind: str, target: str, label: str) -> None:
    assert Probe(kind, target).label == label


# --- HTTP ---


@pytest.mark.parametrize("status", [b"200 OK", b"204 No Content", b"302 Found", b"399 Odd", b"200"])
async def test_an_answer_of_2xx_or_3xx_is_well(status: bytes) -> None:
    outcome = await ask_http(
        b"HTTP/1.1 " + status + b"\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n"
    )
    assert outcome.ok, outcome.detail
    assert outcome.detail == f"HTTP {status[:3].decode()}"


@pytest.mark.parametrize("status", [b"400 Bad", b"404 Not Found", b"500 Oops", b"503 Busy"])
async def test_an_answer_of_4xx_or_5xx_is_not(status: bytes) -> None:
    outcome = await ask_http(b"HTTP/1.1 " + status + b"\r\nContent-Length: 3\r\n\r\nno!")
    assert (outcome.ok, outcome.detail) == (False, f"HTTP {status[:3].decode()}")


async def test_the_request_names_host_path_query_and_account() -> None:
    heard: list[bytes] = []
    async with serving(answering(b"HTTP/1.1 200 OK\r\n\r\n", heard)) as port:
        assert (await ask("http", f"http://me:p%40ss@127.0.0.1:{port}/a b/ü?q=1&r=ä")).ok
    lines = heard[0].decode().split("\r\n")
    assert lines[0] == "GET /a%20b/%C3%BC?q=1&r=%C3%A4 HTTP/1.1"
    assert f"Host: 127.0.0.1:{port}" in lines
    assert "Authorization: Basic bWU6cEBzcw==" in lines


async def test_proxies_of_the_environment_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1/")
    assert (await ask_http(b"HTTP/1.1 200 OK\r\n\r\n")).ok


async def test_interim_answers_are_passed_over() -> None:
    hints = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
    assert (await ask_http(hints + b"HTTP/1.1 503 Busy\r\n\r\n")).detail == "HTTP 503"


@pytest.mark.parametrize(
    "head",
    [b"Content-Length: 5\r\n\r\nhello", b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"],
)
async def test_a_server_that_keeps_the_connection_open_is_not_waited_for(head: bytes) -> None:
    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await answering(b"HTTP/1.1 200 OK\r\n" + head)(reader, writer)
        await asyncio.sleep(60)

    outcome = await ask_http(handler)
    assert outcome.ok, outcome.detail


async def test_a_body_without_end_is_not_read_to_its_end() -> None:
    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            writer.write(b"x" * 65_536)
            await writer.drain()

    assert (await ask_http(handler)).ok


async def hanging(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await asyncio.sleep(60)


async def dripping(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    for byte in b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" + b"x" * 1000:
        writer.write(bytes([byte]))
        await writer.drain()
        await asyncio.sleep(0.05)


async def dripping_body(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
    await dripping(reader, writer)


@pytest.mark.parametrize("handler", [hanging, dripping, dripping_body])
async def test_a_server_that_hangs_or_drips_ends_at_the_timeout(handler: Handler) -> None:
    outcome = await ask_http(handler, timeout=0.3)
    assert (outcome.ok, outcome.detail) == (False, "no answer within 0.3 s")
    assert 0.25 < outcome.seconds < 2


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"", "the connection was closed before an answer"),
        (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", "what came back is no HTTP"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"y" * 20_000 + b"\r\n\r\n", "the head of the answer is longer"),
        (b"HTTP/1.1 100 Continue\r\n\r\n" * 20, "only interim answers came back"),
        (b"HTTP/1.1 2xx OK\r\n\r\n", "what came back is no HTTP"),
    ],
)
async def test_what_is_no_http_is_explained(answer: bytes, reason: str) -> None:
    outcome = await ask_http(answer)
    assert not outcome.ok
    assert outcome.detail.startswith(reason)


@pytest.mark.parametrize("url", ["http://127.0.0.1:99999/", "http://[::1/", "ftp://127.0.0.1/", "http:///", "x"])
async def test_an_address_that_is_none_is_a_failure_not_an_error(url: str) -> None:
    outcome = await ask("http", url)
    assert not outcome.ok
    assert "no web address" in outcome.detail


async def test_a_refused_port_says_that_nobody_listens(unused_tcp_port: int) -> None:
    for kind, target in [
        ("http", f"http://127.0.0.1:{unused_tcp_port}/"),
        ("tcp", f"127.0.0.1:{unused_tcp_port}"),
    ]:
        outcome = await ask(kind, target)
        assert (outcome.ok, outcome.detail) == (False, "connection refused: nobody listens there")


@pytest.fixture
def certificate(tmp_path: Path) -> ssl.SSLContext:
    """A server's side of TLS, with a certificate that nobody signed, for another name."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "elsewhere")])
    now = datetime.now(UTC)
    ends = now + timedelta(days=1)
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), now, ends)
    made = builder.sign(key, hashes.SHA256())
    unencrypted = serialization.NoEncryption()
    form = serialization.PrivateFormat.PKCS8
    (tmp_path / "key.pem").write_bytes(key.private_bytes(serialization.Encoding.PEM, form, unencrypted))
    (tmp_path / "cert.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "cert.pem", tmp_path / "key.pem")
    return context


async def test_https_is_asked_whatever_its_certificate_says(certificate: ssl.SSLContext) -> None:
    async with serving(answering(b"HTTP/1.1 200 OK\r\n\r\n"), ssl=certificate) as port:
        outcome = await ask("http", f"https://127.0.0.1:{port}/")
    assert outcome.ok, outcome.detail


async def test_https_that_hangs_in_the_handshake_ends_at_the_timeout() -> None:
    async with serving(hanging) as port:
        outcome = await ask("http", f"https://127.0.0.1:{port}/", timeout=0.3)
    assert outcome.detail == "no answer within 0.3 s"


async def test_a_post_says_that_its_body_is_empty() -> None:
    heard: list[bytes] = []
    async with serving(answering(b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n", heard)) as port:
        assert await http_request("POST", f"http://127.0.0.1:{port}/shutdown", timeout=5) == 202
    assert heard[0].startswith(b"POST /shutdown HTTP/1.1\r\n")
    assert b"\r\nContent-Length: 0\r\n" in heard[0]


async def test_a_request_to_nowhere_raises() -> None:
    with pytest.raises(ProbeFailedError):
        await http_request("POST", "shutdown", timeout=5)


# --- TCP ---


async def test_a_port_that_listens_is_well() -> None:
    async with serving(hanging) as port:
        assert (await ask("tcp", f"127.0.0.1:{port}")).ok
        assert (await ask("tcp", f"localhost:{port}")).ok


@pytest.mark.parametrize("target", ["127.0.0.1:http", "127.0.0.1:0", "127.0.0.1:70000", "127.0.0.1:" + "9" * 5000])
async def test_a_port_that_is_none_is_a_failure_not_an_error(target: str) -> None:
    assert (await ask("tcp", target)).detail.endswith("write host:port")


# --- exec ---


async def test_a_command_that_ends_with_0_is_well() -> None:
    outcome = await ask("exec", "echo all is well")
    assert (outcome.ok, outcome.detail) == (True, "all is well")


@pytest.mark.parametrize(
    ("command", "detail"),
    [
        ("sh -c 'echo oh no; echo why >&2; exit 3'", "exit code 3: oh no\nwhy"),
        ("sh -c 'kill -9 $$'", "killed by signal 9"),
        ("false", "exit code 1"),
    ],
)
async def test_a_command_that_fails_says_how(command: str, detail: str) -> None:
    outcome = await ask("exec", command)
    assert (outcome.ok, outcome.detail) == (False, detail)


@pytest.mark.parametrize("command", ["no-such-command-anywhere", "/", "/etc/passwd", "'unclosed"])
async def test_a_command_that_cannot_run_is_a_failure_not_an_error(command: str) -> None:
    assert not (await ask("exec", command)).ok


async def test_a_command_runs_with_the_environment_and_folder_of_its_program(tmp_path: Path) -> None:
    context = ProbeContext(
        environment={"PATH": os.environ["PATH"], "PORT": "8101"}, working_directory=str(tmp_path)
    )
    outcome = await ask("exec", "sh -c 'echo $PORT $HOME $(pwd -P)'", context=context)
    assert outcome.detail == f"8101 {tmp_path.resolve()}"


async def test_only_the_end_of_much_output_is_kept() -> None:
    outcome = await ask("exec", "sh -c 'head -c 1000000 /dev/zero | tr \"\\0\" x; echo end; exit 1'", timeout=20)
    assert outcome.detail.endswith("xxxend")
    assert len(outcome.detail) < 600


async def gone(pid: int) -> bool:
    """Whether the process has ended, within a few seconds."""
    for _ in range(300):
        if not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
            return True
        await asyncio.sleep(0.02)
    return False


FORKS = "sh -c 'sleep 300 & echo $! > {file}; {then}'"


@pytest.mark.parametrize(("then", "ok"), [("wait", False), ("exit 0", True), ('trap "" TERM; wait', False)])
async def test_a_command_that_forks_leaves_nobody_behind(tmp_path: Path, then: str, ok: bool) -> None:
    file = tmp_path / "pid"
    outcome = await ask("exec", FORKS.format(file=file, then=then), timeout=1.0)
    assert outcome.ok is ok, outcome.detail
    assert outcome.seconds < 5
    assert await gone(int(file.read_text()))


async def test_a_command_that_is_called_off_is_killed_with_its_children(tmp_path: Path) -> None:
    file = tmp_path / "pid"
    task = asyncio.create_task(ask("exec", FORKS.format(file=file, then="wait"), timeout=60))
    while not file.exists() or not file.read_text():
        await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await gone(int(file.read_text()))


async def test_probing_again_and_again_leaves_no_descriptor_and_no_zombie() -> None:
    me = psutil.Process()
    await ask("exec", "true")
    before = me.num_fds()
    for command in ["true", "false", "sleep 60", "no-such-command"] * 3:
        await ask("exec", command, timeout=0.1)
    assert me.num_fds() <= before
    assert not [child for child in me.children() if child.status() == psutil.STATUS_ZOMBIE]


# --- log ---


class Lines:
    """A log that grows."""

    def __init__(self, *lines: str) -> None:
        self.lines = list(lines)
        self.reads = 0

    def __call__(self) -> Iterator[str]:
        self.reads += 1
        while self.lines:
            yield self.lines.pop(0)


async def test_a_text_that_appeared_once_stays_seen() -> None:
    log = Lines("starting", "Done (3.2s)! For help, type help")
    context = ProbeContext(new_lines=log)
    assert (await ask("log", "Done (", context=context)).ok
    log.lines = ["shutting down"]
    assert (await ask("log", "Done (", context=context)).ok
    assert log.reads == 1


async def test_a_text_is_taken_literally_and_waited_for() -> None:
    log = Lines("Done")
    context = ProbeContext(new_lines=log)
    outcome = await ask("log", "D.*e", context=context)
    assert (outcome.ok, outcome.detail) == (False, "it has not appeared in the log")
    log.lines = ["D.*e"]
    assert (await ask("log", "D.*e", context=context)).ok


async def test_two_texts_are_found_though_the_log_is_read_once() -> None:
    context = ProbeContext(new_lines=Lines("first", "second"), wanted_texts={"second"})
    assert (await ask("log", "first", context=context)).ok
    assert (await ask("log", "second", context=context)).ok


async def test_a_log_that_grows_without_end_stops_at_the_timeout_and_goes_on_there() -> None:
    def endless() -> Iterator[str]:
        number = 0
        while True:
            number += 1
            yield f"line {number}."

    context = ProbeContext(new_lines=endless)
    outcome = await ask("log", "no such text", timeout=0.1, context=context)
    assert outcome.detail == "no answer within 0.1 s"
    assert next(context.unread_lines) not in ("line 1.", "line 500.")


async def test_a_log_that_cannot_be_read_is_a_failure_not_an_error() -> None:
    def broken() -> Iterator[str]:
        raise PermissionError("Permission denied")

    assert (await ask("log", "x", context=ProbeContext(new_lines=broken))).detail == "Permission denied"


def test_probing_loads_no_http_library() -> None:
    script = "import sys, programs.probes; sys.exit('aiohttp' in sys.modules or 'requests' in sys.modules)"
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "monitor_site.settings"}
    root = Path(__file__).resolve().parents[2]
    assert subprocess.run([sys.executable, "-c", script], cwd=root, env=environment).returncode == 0
