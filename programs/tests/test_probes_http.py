"""HTTP probes against servers that answer well, badly, slowly or not at all."""

from __future__ import annotations

import asyncio
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from programs.probes import Outcome, ProbeFailedError, http_request

from .probes_rig import Handler, answering, ask, hanging, serving


async def ask_http(answer: bytes | Handler, timeout: float = 5.0, path: str = "/") -> Outcome:
    async with serving(answering(answer) if isinstance(answer, bytes) else answer) as port:
        return await ask("http", f"http://127.0.0.1:{port}{path}", timeout)


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
