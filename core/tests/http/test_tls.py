"""Trusted certificates."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest

from core.http import Client, OutgoingRequest, Tls, TransportError
from core.tests.http_server import Reader, Writer, certificate, failure, serving

ROOT = Path(__file__).resolve().parents[3]


async def test_a_self_signed_certificate_is_refused(client: Client, tmp_path: Path) -> None:
    tls, _ = certificate(tmp_path, "localhost")
    async with serving(tls=tls) as server:
        error = await failure(client, server.url(host="localhost", scheme="https"))
        assert (error.kind, error.connected, server.requests) == ("tls", False, [])
        assert "self-signed" in error.text


async def test_plain_http_on_a_https_port_is_a_tls_error(client: Client) -> None:
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


async def test_a_certificate_of_a_system_authority_is_accepted(tmp_path: Path) -> None:
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


async def test_authorities_of_the_request_replace_those_of_the_system(client: Client, tmp_path: Path) -> None:
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


async def test_verification_can_be_turned_off_for_one_request(client: Client, tmp_path: Path) -> None:
    tls, _ = certificate(tmp_path, "elsewhere.example")
    async with serving(tls=tls) as server:
        url = server.url(host="localhost", scheme="https")
        assert (await client.send(OutgoingRequest("POST", url, body=b"{}", tls=Tls(verify=False)))).status == 200
        assert (await failure(client, url)).kind == "tls"
