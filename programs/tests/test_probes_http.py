"""HTTP probes against servers that respond correctly, wrongly, slowly or not at all."""

from __future__ import annotations

import asyncio
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from programs.probes import ProbeFailedError, ProbeResult, http_request

from .probes_rig import Handler, answering, hanging, run_probe, serving


async def probe_http(answer: bytes | Handler, timeout: float = 5.0, path: str = "/") -> ProbeResult:
    async with serving(answering(answer) if isinstance(answer, bytes) else answer) as port:
        return await run_probe("http", f"http://127.0.0.1:{port}{path}", timeout)


@pytest.mark.parametrize("status", [b"200 OK", b"204 No Content", b"302 Found", b"399 Odd", b"200"])
async def test_a_2xx_or_3xx_response_is_healthy(status: bytes) -> None:
    result = await probe_http(
        b"HTTP/1.1 " + status + b"\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n"
    )
    assert result.ok, result.detail
    assert result.detail == f"HTTP {status[:3].decode()}"


@pytest.mark.parametrize("status", [b"400 Bad", b"404 Not Found", b"500 Oops", b"503 Busy"])
async def test_a_4xx_or_5xx_response_is_a_failure(status: bytes) -> None:
    result = await probe_http(b"HTTP/1.1 " + status + b"\r\nContent-Length: 3\r\n\r\nno!")
    assert (result.ok, result.detail) == (False, f"HTTP {status[:3].decode()}")


async def test_the_request_has_host_path_query_and_credentials() -> None:
    requests: list[bytes] = []
    async with serving(answering(b"HTTP/1.1 200 OK\r\n\r\n", requests)) as port:
        assert (await run_probe("http", f"http://me:p%40ss@127.0.0.1:{port}/a b/ü?q=1&r=ä")).ok
    lines = requests[0].decode().split("\r\n")
    assert lines[0] == "GET /a%20b/%C3%BC?q=1&r=%C3%A4 HTTP/1.1"
    assert f"Host: 127.0.0.1:{port}" in lines
    assert "Authorization: Basic bWU6cEBzcw==" in lines


async def test_proxy_variables_are_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1/")
    assert (await probe_http(b"HTTP/1.1 200 OK\r\n\r\n")).ok


async def test_interim_responses_are_skipped() -> None:
    hints = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
    assert (await probe_http(hints + b"HTTP/1.1 503 Busy\r\n\r\n")).detail == "HTTP 503"


@pytest.mark.parametrize(
    "head",
    [b"Content-Length: 5\r\n\r\nhello", b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"],
)
async def test_a_probe_does_not_wait_for_the_connection_to_close(head: bytes) -> None:
    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await answering(b"HTTP/1.1 200 OK\r\n" + head)(reader, writer)
        await asyncio.sleep(60)

    result = await probe_http(handler)
    assert result.ok, result.detail


async def test_an_endless_body_is_not_read_completely() -> None:
    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            writer.write(b"x" * 65_536)
            await writer.drain()

    assert (await probe_http(handler)).ok


async def dripping(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    for byte in b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" + b"x" * 1000:
        writer.write(bytes([byte]))
        await writer.drain()
        await asyncio.sleep(0.05)


async def dripping_body(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
    await dripping(reader, writer)


@pytest.mark.parametrize("handler", [hanging, dripping, dripping_body])
async def test_a_hanging_or_slow_server_fails_at_the_timeout(handler: Handler) -> None:
    result = await probe_http(handler, timeout=0.3)
    assert (result.ok, result.detail) == (False, "no response within 0.3 s")
    assert 0.25 < result.seconds < 2


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"", "the connection was closed without a response"),
        (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", "the response is not HTTP"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"y" * 20_000 + b"\r\n\r\n", "the response headers are longer"),
        (b"HTTP/1.1 100 Continue\r\n\r\n" * 20, "received only interim (1xx) responses"),
        (b"HTTP/1.1 2xx OK\r\n\r\n", "the response is not HTTP"),
    ],
)
async def test_an_invalid_response_is_explained(answer: bytes, reason: str) -> None:
    result = await probe_http(answer)
    assert not result.ok
    assert result.detail.startswith(reason)


@pytest.mark.parametrize("url", ["http://127.0.0.1:99999/", "http://[::1/", "ftp://127.0.0.1/", "http:///", "x"])
async def test_an_invalid_url_is_a_failed_result(url: str) -> None:
    result = await run_probe("http", url)
    assert not result.ok
    assert "not a valid URL" in result.detail


@pytest.fixture
def certificate(tmp_path: Path) -> ssl.SSLContext:
    """A server context with a self-signed certificate for another name."""
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


async def test_https_accepts_any_certificate(certificate: ssl.SSLContext) -> None:
    async with serving(answering(b"HTTP/1.1 200 OK\r\n\r\n"), ssl=certificate) as port:
        result = await run_probe("http", f"https://127.0.0.1:{port}/")
    assert result.ok, result.detail


async def test_a_hanging_tls_handshake_fails_at_the_timeout() -> None:
    async with serving(hanging) as port:
        result = await run_probe("http", f"https://127.0.0.1:{port}/", timeout=0.3)
    assert result.detail == "no response within 0.3 s"


async def test_a_post_declares_an_empty_body() -> None:
    requests: list[bytes] = []
    async with serving(answering(b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n", requests)) as port:
        assert await http_request("POST", f"http://127.0.0.1:{port}/shutdown", timeout=5) == 202
    assert requests[0].startswith(b"POST /shutdown HTTP/1.1\r\n")
    assert b"\r\nContent-Length: 0\r\n" in requests[0]


async def test_a_request_without_a_host_raises() -> None:
    with pytest.raises(ProbeFailedError):
        await http_request("POST", "shutdown", timeout=5)
