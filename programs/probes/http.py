"""One small HTTP/1.1 request: no redirects, no proxies, no cookies, and never more than a bounded answer.

Written on asyncio streams because a client library would double the agent's memory.
"""

from __future__ import annotations

import asyncio
import base64
import re
import ssl
from collections.abc import Mapping
from typing import Any
from urllib.parse import SplitResult, quote, unquote, urlsplit

from .base import ProbeFailedError
from .connect import open_connection

LONGEST_HEAD = 16 * 1024
LONGEST_BODY = 64 * 1024
MOST_INTERIM_ANSWERS = 10
STATUS_LINE = re.compile(rb"HTTP/1\.[01] (\d{3})(?: |\r)")
DEFAULT_PORTS = {"http": 80, "https": 443}
LAST_CHUNK = b"0\r\n\r\n"
BODILESS = (204, 304)


async def http_request(method: str, url: str, *, timeout: float) -> int:
    """The status of the answer, once it was received wholly or as far as it is looked at.

    `timeout` is for everything together, in seconds. Raises TimeoutError, OSError, or ProbeFailedError for what
    is no HTTP.
    """
    parts = _parts(url)
    host = parts.hostname or ""
    async with asyncio.timeout(timeout):
        reader, writer = await open_connection(
            host,
            DEFAULT_PORTS[parts.scheme] if parts.port is None else parts.port,
            limit=LONGEST_HEAD,
            **_tls(host) if parts.scheme == "https" else {},
        )
        try:
            writer.write(_request(method, parts))
            await writer.drain()
            status, headers = await _answer(reader)
            if status not in BODILESS:
                await _pass_over_body(reader, headers)
            return status
        finally:
            # Not close(): a peer that hangs in the middle of TLS would hold up the closing, too.
            writer.transport.abort()


def _parts(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        if parts.scheme in DEFAULT_PORTS and parts.hostname and parts.port != 0:
            return parts
    except ValueError as error:
        raise ProbeFailedError(f"{url} is no web address: {error}") from error
    raise ProbeFailedError(f"{url} is no web address")


def _tls(host: str) -> dict[str, Any]:
    """The question is whether the program answers; on its own machine it rarely has a certificate to match."""
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


async def _answer(reader: asyncio.StreamReader) -> tuple[int, Mapping[str, str]]:
    """Status and headers of the answer proper, past interim ones such as 103 Early Hints."""
    for _ in range(MOST_INTERIM_ANSWERS):
        head = await _head(reader)
        found = STATUS_LINE.match(head)
        if found is None:
            raise ProbeFailedError(f"what came back is no HTTP: {head[:40]!r}")
        if not found[1].startswith(b"1"):
            return int(found[1]), _headers(head)
    raise ProbeFailedError("only interim answers came back")


async def _head(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError as error:
        raise ProbeFailedError("the connection was closed before an answer") from error
    except asyncio.LimitOverrunError as error:
        raise ProbeFailedError(f"the head of the answer is longer than {LONGEST_HEAD} bytes") from error


def _headers(head: bytes) -> dict[str, str]:
    lines = (line.partition(":") for line in head.decode("latin-1").split("\r\n")[1:])
    return {name.strip().lower(): value.strip().lower() for name, _, value in lines}


async def _pass_over_body(reader: asyncio.StreamReader, headers: Mapping[str, str]) -> None:
    """Reads the body, so that the program need not see a broken connection; a very long one not to its end."""
    length = headers.get("content-length", "")
    left = min(int(length), LONGEST_BODY) if re.fullmatch(r"\d{1,18}", length) else LONGEST_BODY
    is_chunked = "chunked" in headers.get("transfer-encoding", "")
    end = b""
    while left > 0 and not (is_chunked and end == LAST_CHUNK):
        piece = await reader.read(left)
        if not piece:
            return
        left -= len(piece)
        end = (end + piece)[-len(LAST_CHUNK) :]
