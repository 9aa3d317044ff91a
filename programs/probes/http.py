"""A minimal HTTP/1.1 client for probes: no redirects, proxies or cookies, and a bounded response.

Uses asyncio streams, because a client library would double the memory of the agent.
"""

from __future__ import annotations

import asyncio
import base64
import re
import socket
import ssl
from collections.abc import Mapping
from functools import partial
from typing import Any
from urllib.parse import SplitResult, quote, unquote, urlsplit

from core.single_flight import SingleFlight

from .base import ProbeFailedError

MAX_HEAD_BYTES = 16 * 1024
MAX_BODY_BYTES = 64 * 1024
MAX_INTERIM_RESPONSES = 10
STATUS_LINE = re.compile(rb"HTTP/1\.[01] (\d{3})(?: |\r)")
DEFAULT_PORTS = {"http": 80, "https": 443}
LAST_CHUNK = b"0\r\n\r\n"
BODILESS = (204, 304)

AddressInfo = list[tuple[Any, ...]]
_lookups: SingleFlight[AddressInfo] = SingleFlight()


async def http_request(method: str, url: str, *, timeout: float) -> int:
    """Returns the status after it has read the body, or the first MAX_BODY_BYTES of it.

    `timeout` covers the whole request, in seconds. Raises TimeoutError, OSError, or ProbeFailedError for an
    invalid URL or response.
    """
    parts = _parts(url)
    host = parts.hostname or ""
    async with asyncio.timeout(timeout):
        reader, writer = await open_connection(
            host,
            DEFAULT_PORTS[parts.scheme] if parts.port is None else parts.port,
            limit=MAX_HEAD_BYTES,
            **_tls(host) if parts.scheme == "https" else {},
        )
        try:
            writer.write(_request(method, parts))
            await writer.drain()
            status, headers = await _read_response(reader)
            if status not in BODILESS:
                await _skip_body(reader, headers)
            return status
        finally:
            # Not close(): it would wait for a peer that hangs in the TLS handshake.
            writer.transport.abort()


def _parts(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        if parts.scheme in DEFAULT_PORTS and parts.hostname and parts.port != 0:
            return parts
    except ValueError as error:
        raise ProbeFailedError(f"{url} is not a valid URL: {error}") from error
    raise ProbeFailedError(f"{url} is not a valid URL; use http://host:port/path")


def _tls(host: str) -> dict[str, Any]:
    # The probe checks whether the program responds; on its own host it rarely has a certificate for that name.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return {"ssl": context, "server_hostname": host}


def _request(method: str, parts: SplitResult) -> bytes:
    path = quote(parts.path or "/", safe="/%:@!$&'()*+,;=~")
    query = "?" + quote(parts.query, safe="/%:@!$&'()*+,;=~?") if parts.query else ""
    lines = [
        f"{method} {path}{query} HTTP/1.1",
        f"Host: {parts.netloc.rpartition('@')[2]}",
        "User-Agent: program-monitor",
        "Accept: */*",
        "Connection: close",
    ]
    if parts.username is not None:
        account = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        lines.append(f"Authorization: Basic {base64.b64encode(account.encode()).decode()}")
    if method != "GET":
        lines.append("Content-Length: 0")
    return "\r\n".join([*lines, "", ""]).encode()


async def _read_response(reader: asyncio.StreamReader) -> tuple[int, Mapping[str, str]]:
    for _ in range(MAX_INTERIM_RESPONSES):  # 1xx responses, such as 103 Early Hints, precede the final one
        head = await _read_head(reader)
        match = STATUS_LINE.match(head)
        if match is None:
            raise ProbeFailedError(f"the response is not HTTP: {head[:40]!r}")
        if not match[1].startswith(b"1"):
            return int(match[1]), _headers(head)
    raise ProbeFailedError("received only interim (1xx) responses")


async def _read_head(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError as error:
        raise ProbeFailedError("the connection was closed without a response") from error
    except asyncio.LimitOverrunError as error:
        raise ProbeFailedError(f"the response headers are longer than {MAX_HEAD_BYTES} bytes") from error


def _headers(head: bytes) -> dict[str, str]:
    lines = (line.partition(":") for line in head.decode("latin-1").split("\r\n")[1:])
    return {name.strip().lower(): value.strip().lower() for name, _, value in lines}


async def _skip_body(reader: asyncio.StreamReader, headers: Mapping[str, str]) -> None:
    # Closing before the body is read would make the program log a broken connection.
    length = headers.get("content-length", "")
    left = min(int(length), MAX_BODY_BYTES) if re.fullmatch(r"\d{1,18}", length) else MAX_BODY_BYTES
    is_chunked = "chunked" in headers.get("transfer-encoding", "")
    end = b""
    while left > 0 and not (is_chunked and end == LAST_CHUNK):
        piece = await reader.read(left)
        if not piece:
            return
        left -= len(piece)
        end = (end + piece)[-len(LAST_CHUNK) :]


async def open_connection(
    host: str, port: int, **options: Any
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """`asyncio.open_connection`, with a name lookup that cannot block other work. Raises OSError, UnicodeError."""
    errors: list[OSError] = []
    for *_, address in await _addresses(host, port):
        try:
            return await asyncio.open_connection(address[0], port, **options)
        except OSError as error:
            errors.append(error)
    raise errors[0]


async def _addresses(host: str, port: int) -> AddressInfo:
    look_up = partial(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM)
    try:
        return look_up(flags=socket.AI_NUMERICHOST)  # most targets are IP addresses and need no lookup
    except socket.gaierror:
        # asyncio would look up names in the default executor, whose few threads the whole agent shares.
        return await _lookups.run((host, port), look_up)
