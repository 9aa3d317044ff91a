"""Apprise itself, against servers on this machine."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import pytest_asyncio

from core.http import Client, Policy, RefusedError, TransportError
from core.tests.http_server import OK, certificate, serving
from webhooks.tests.sample_bodies import CRASH
from webhooks.transports import get
from webhooks.transports.apprise import process
from webhooks.transports.apprise.guard import SCHEMAS

APPRISE = get("apprise")
ROOT = Path(process.__file__).parents[3]


@pytest_asyncio.fixture
async def client() -> AsyncIterator[Client]:
    async with Client(Policy()) as client:
        yield client


@pytest.fixture(autouse=True)
def nothing_stays() -> Iterator[None]:
    yield
    assert [child for child in psutil.Process().children() if "apprise.child" in error_text(child)] == []


def error_text(process: psutil.Process) -> str:
    """Empty if the process has ended."""
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


async def send(client: Client, url: str, deadline: float = 15) -> Any:
    return await APPRISE.send(client, APPRISE.render(CRASH, url, {}), deadline=deadline)


async def test_a_message_arrives_with_all_facts(client: Client) -> None:
    async with serving() as server:
        response = await send(client, f"json://127.0.0.1:{server.port}/token1234")
    message = json.loads(server.requests[0].partition(b"\r\n\r\n")[2])
    assert message["title"] == "my_web crashed: exit code 1 after 1 h 6 min; restarting now"
    assert "ValueError: a & b *or* _c_" in message["message"] and message["type"] == "failure"
    assert (response.status, response.peer) == (200, "127.0.0.1")


@pytest.mark.parametrize(
    ("scheme", "host"),
    [
        ("json", "169.254.169.254"),
        ("gotify", "[fe80::1]"),
        ("ntfy", "100.100.100.200"),
        ("form", "[::ffff:169.254.1.1]"),
    ],
)
async def test_forbidden_addresses_are_refused(client: Client, scheme: str, host: str) -> None:
    with pytest.raises(RefusedError, match="does not allow it"):
        await send(client, f"{scheme}://{host}/abcdef")


async def test_the_monitors_own_port_is_refused_for_names_too() -> None:
    async with serving() as trap, Client(Policy(own_ports=frozenset({trap.port}))) as client:
        for host in ("127.0.0.1", "localhost", "2130706433"):
            with pytest.raises(RefusedError, match="the monitor itself"):
                await send(client, f"json://{host}:{trap.port}/")
        assert trap.requests == []


async def test_the_guard_applies_to_mail(client: Client) -> None:
    with pytest.raises(RefusedError, match="does not allow it"):
        await send(client, "mailto://me:pass@example.com?smtp=169.254.169.254&to=you@example.com")


async def test_redirects_are_not_followed_even_if_the_url_asks_for_it(client: Client) -> None:
    async with serving() as target:
        moved = f"HTTP/1.1 307 Moved\r\nLocation: {target.url()}\r\nContent-Length: 0\r\n\r\n".encode()
        async with serving(moved) as server:
            with pytest.raises(TransportError, match="307"):
                await send(client, f"json://127.0.0.1:{server.port}/?redirect=yes")
        assert target.requests == []


async def test_certificates_are_verified_even_if_the_url_says_no(client: Client, tmp_path: Path) -> None:
    tls, _ = certificate(tmp_path, "localhost")
    async with serving(tls=tls) as server:
        with pytest.raises(TransportError):
            await send(client, f"jsons://localhost:{server.port}/?verify=no")
        assert server.requests == []


async def test_a_proxy_named_in_the_environment_is_not_used(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving() as proxy, serving() as server:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url(""))
        await send(client, f"json://127.0.0.1:{server.port}/")
        assert (len(server.requests), proxy.requests) == (1, [])


async def test_services_cannot_read_files_of_this_machine(client: Client, tmp_path: Path) -> None:
    # Some services accept the name of a template file in their URL.
    (tmp_path / "secret_key").write_text('{"text": "hemmelig"}')
    url = f"tgram://123456789:abcdefghijklmnopqrstuvwxyz-ABCDEFGHI/12315544/?template={tmp_path / 'secret_key'}"
    with pytest.raises(RefusedError, match="Files of this machine"):
        await send(client, url)


async def test_errors_of_the_service_are_reported_without_secrets(client: Client) -> None:
    said = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n"
    async with serving(said) as server:
        with pytest.raises(TransportError) as caught:
            await send(client, f"json://user:hemmelig@127.0.0.1:{server.port}/token1234")
    assert caught.value.kind == "failed" and "403" in caught.value.text
    assert "hemmelig" not in str(caught.value) and "token1234" not in str(caught.value)


def test_all_possibly_secret_parts_of_a_url_are_masked() -> None:
    url = "slack://bot@TOKENA/TOKENB/tok%20enc?key=VALUE1,VALUE2#FRAGMENT"
    for secret in ("TOKENA", "TOKENB", "tok%20enc", "tok enc", "VALUE1", "VALUE2", "FRAGMENT"):
        assert process.masked_text(f"failed for {secret}.", url) == "failed for ••••••."
    assert process.masked_text("to example.com failed", "json://example.com/abcd") == "to example.com failed"


@pytest.mark.parametrize(
    "rest",
    [
        b"X-A: b\r\n" * 1000,
        b"X-A: " + b"b" * 200_000 + b"\r\n\r\n",
        b"Content-Length: 9\r\n\r\nabc",
        b"Transfer-Encoding: chunked\r\n\r\n5\r\nab",
    ],
    ids=["many headers", "huge header", "cut body", "cut chunk"],
)
async def test_a_2xx_status_line_is_a_delivery_whatever_follows(client: Client, rest: bytes) -> None:
    async with serving(b"HTTP/1.1 200 OK\r\n" + rest) as server:
        assert (await send(client, f"json://127.0.0.1:{server.port}/")).status == 200
    assert len(server.requests) == 1


async def test_an_endless_body_is_no_failure(client: Client) -> None:
    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
        while True:
            writer.write(b"a")
            await writer.drain()
            await asyncio.sleep(0.1)

    async with serving(drip) as server:
        assert (await send(client, f"json://127.0.0.1:{server.port}/", deadline=20)).status == 200


async def test_a_service_that_sends_no_status_line_times_out(client: Client) -> None:
    async with serving(lambda reader, writer: asyncio.sleep(30)) as server:
        job = process.encode_job(
            f"json://127.0.0.1:{server.port}/", client.policy, title="t", body="b", seconds=10
        )
        with pytest.raises(TransportError, match="within 3 s"):
            await process.run_async(job, 3)


async def test_cancelling_leaves_no_process_behind(client: Client) -> None:
    async with serving(lambda reader, writer: asyncio.sleep(30)) as server:
        task = asyncio.create_task(send(client, f"json://127.0.0.1:{server.port}/"))
        async with asyncio.timeout(60):
            while not server.requests:
                await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


def test_the_process_exits_by_itself_if_its_worker_was_killed() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"json://127.0.0.1:{silent.getsockname()[1]}/"
        job = process.encode_job(url, Policy(), title="t", body="b", seconds=2)
        with subprocess.Popen(process.COMMAND, stdin=subprocess.PIPE, cwd=ROOT, env={"HOME": os.devnull}) as child:
            assert child.stdin is not None
            child.stdin.write(job)
            child.stdin.close()
            assert child.wait(60) == -signal.SIGALRM


async def test_the_number_of_processes_is_limited(client: Client) -> None:
    most = 0

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal most
        most = max(most, len(psutil.Process().children()))
        writer.write(OK)
        await writer.drain()

    async with serving(answer) as server:
        url = f"json://127.0.0.1:{server.port}/"
        await asyncio.gather(*(send(client, url) for _ in range(5)))
    assert len(server.requests) == 5 and most <= process.MAX_PROCESSES


@pytest.mark.parametrize(
    "url",
    ["syslog://", "macosx://", "windows://", "dbus://", "https://e/", "file:///etc/passwd", "nope", "", "fcm://p"],
)
def test_services_that_act_on_this_machine_cannot_be_saved(url: str) -> None:
    with pytest.raises(RefusedError, match="not a supported service"):
        APPRISE.check(url, {}, Policy())


async def test_services_that_act_on_this_machine_cannot_be_used(client: Client) -> None:
    for url in ("syslog://", "file:///etc/passwd"):
        with pytest.raises(RefusedError):
            await send(client, url)


def test_an_invalid_service_url_is_refused() -> None:
    with pytest.raises(RefusedError, match="Slack") as caught:
        APPRISE.check("slack://hemmelig/TOKENB", {}, Policy())
    assert "hemmelig" not in str(caught.value)
    APPRISE.check("ntfys://ntfy.sh/topic", {}, Policy())


def python(script: str) -> str:
    command = [sys.executable, "-B", "-c", script]
    return subprocess.run(command, cwd=ROOT, capture_output=True, check=True, text=True, timeout=60).stdout.strip()


def test_apprise_knows_every_listed_service() -> None:
    known = python("import apprise.manager_plugins as m; print(*m.NotificationManager().schemas(False))")
    assert set(known.split()) >= SCHEMAS


def test_the_process_imports_neither_django_nor_the_http_client() -> None:
    loaded = python("import sys, webhooks.transports.apprise.child; print(*sys.modules)").split()
    assert {"django", "aiohttp", "pydantic"}.isdisjoint(loaded)


def test_secrets_are_not_on_the_command_line() -> None:
    assert not any("json" in word for word in process.COMMAND)
