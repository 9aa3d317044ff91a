"""Sends requests with aiohttp and limits their time, bytes and addresses."""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
import ssl
import time
from collections.abc import Mapping
from contextvars import ContextVar
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any, Self, cast
from urllib.parse import quote, urlsplit

import aiohttp
from aiohttp.client_reqrep import ClientResponse
from aiohttp.payload import BytesPayload
from django.conf import settings
from yarl import URL

from .addresses import parse_ip_literal
from .failures import transport_error
from .messages import OutgoingRequest, OutgoingResponse, RefusedError, Tls, check_headers
from .policy import Policy
from .resolver import GuardedResolver
from .response_head import RecordingHandler, merged_headers
from .urls import check_url

if TYPE_CHECKING:
    from aiohttp.client_reqrep import ConnectionKey
    from aiohttp.connector import Connection

CONNECT_SECONDS = 5.0
BODY_SECONDS = 5.0
MAX_READ = 64 * 1024
MAX_BODY_HEAD = 4 * 1024
# What RFC 3986 does not allow in path and query, such as `ä`, `|`, and `%` that begins no escape.
NOT_IN_URL = re.compile(r"%(?![0-9A-Fa-f]{2})|[^A-Za-z0-9%._~:/?\[\]@!$&'()*+,;=-]")
# aiohttp must not set these. We request no compression: a compressed response could expand without limit.
DEFAULT_HEADERS = ("Content-Type", "User-Agent", "Accept-Encoding", "Accept")
CONNECTION_LOST = (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError, aiohttp.ClientConnectionResetError)
# Servers close idle connections after two seconds or more; keep ours for less, or requests would fail.
KEEPALIVE_SECONDS = 1.0

was_reused: ContextVar[bool] = ContextVar("was_reused", default=False)
"""Whether the latest connection of the current task had been used before."""
force_new_connection: ContextVar[bool] = ContextVar("force_new_connection", default=False)
"""Set it to close the kept connections to that host and to open a new one."""
used_protocol: ContextVar[RecordingHandler | None] = ContextVar("used_protocol", default=None)
"""The protocol of the latest connection of the current task."""


class Connector(aiohttp.TCPConnector):
    """Reuses a connection only while its host name still resolves to its address."""

    def __init__(self, resolver: GuardedResolver, **options: Any) -> None:
        super().__init__(
            resolver=resolver, use_dns_cache=False, keepalive_timeout=KEEPALIVE_SECONDS, limit=0, **options
        )
        self._names = resolver
        self._factory = partial(RecordingHandler, loop=self._loop)  # type: ignore[assignment]  # a subclass

    async def connect(self, req: Any, traces: Any, timeout: Any) -> Connection:
        """Raises RefusedError when the policy no longer allows the resolved addresses."""
        was_reused.set(False)
        used_protocol.set(None)
        key: ConnectionKey = req.connection_key
        if force_new_connection.get():
            self._close_all_but(key, frozenset())
        elif key in self._conns and parse_ip_literal(key.host) is None:
            self._close_all_but(key, await self._addresses(key))
        # No await until a connection is chosen, so all kept connections have just been checked.
        kept = {protocol for protocol, _ in self._conns.get(key, ())}
        connection = await super().connect(req, traces, timeout)
        was_reused.set(connection.protocol in kept)
        used_protocol.set(cast(RecordingHandler, connection.protocol))
        return connection

    async def _addresses(self, key: ConnectionKey) -> frozenset[str]:
        """The present addresses; empty if the name cannot be resolved, which the new connection will report."""
        try:
            answers = await self._names.resolve(key.host, key.port or 0)
        except OSError:
            return frozenset()
        return frozenset(answer["host"] for answer in answers)

    def _close_all_but(self, key: ConnectionKey, addresses: frozenset[str]) -> None:
        for protocol, _ in self._conns.get(key, ()):
            peer = protocol.transport.get_extra_info("peername") if protocol.transport else None
            if peer is None or peer[0] not in addresses:
                protocol.close()


class Client:
    """A session for many requests that keeps connections briefly. Use it with `async with` in one event loop."""

    def __init__(self, policy: Policy | None = None) -> None:
        self.policy = policy or Policy.from_settings()
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        connector = Connector(GuardedResolver(self.policy), socket_factory=self._socket)
        self._session = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None, connect=CONNECT_SECONDS, sock_connect=CONNECT_SECONDS),
            skip_auto_headers=DEFAULT_HEADERS,
            auto_decompress=False,
            trust_env=False,
        )
        return self

    async def __aexit__(self, *exception: object) -> None:
        if self._session:
            await self._session.close()
            self._session = None

    def _socket(self, info: Any) -> socket.socket:
        family, kind, protocol, _, address = info
        self.policy.check(address[0], address[1])
        return socket.socket(family, kind, protocol)

    async def send(self, request: OutgoingRequest, *, deadline: float = 15.0) -> OutgoingResponse:
        """Returns a response of any status. `deadline`: seconds for the whole exchange.

        A response counts from its status line on: what follows may be cut off, endless or malformed. Raises
        RefusedError when the policy forbids the request, TransportError without a status line in time.
        """
        if self._session is None:
            raise RuntimeError("use Client with `async with`")
        _check_url(request.url, self.policy)
        check_headers(request.headers)
        started = time.monotonic()
        used_protocol.set(None)
        try:
            async with asyncio.timeout(deadline):
                return await self._send_with_retry(self._session, request, started)
        except aiohttp.InvalidURL:
            raise RefusedError("The URL is not valid.") from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            # With its status line the receiver has decided: sending again could repeat the message.
            if response := _partial_response(started):
                return response
            raise transport_error(error, deadline) from error

    async def _send_with_retry(
        self, session: aiohttp.ClientSession, request: OutgoingRequest, started: float
    ) -> OutgoingResponse:
        # If a reused connection fails, the server had most likely closed it before the request.
        try:
            return await self._exchange(session, request, started)
        except CONNECTION_LOST:
            if not was_reused.get() or _partial_response(started):
                raise
        new = force_new_connection.set(True)
        try:
            return await self._exchange(session, request, started)
        finally:
            force_new_connection.reset(new)

    async def _exchange(
        self, session: aiohttp.ClientSession, request: OutgoingRequest, started: float
    ) -> OutgoingResponse:
        async with session.request(
            request.method,
            _target(request.url),
            headers=_with_default_headers(request.headers),
            data=BytesPayload(request.body) if request.body else None,  # saves aiohttp the detection of the type
            allow_redirects=False,
            ssl=_ssl(request.tls),
        ) as response:
            head = await _read_head(response)
            return _response(response.status, merged_headers(response.headers.items()), started, head)


def _response(status: int, headers: Mapping[str, str], started: float, head: bytes = b"") -> OutgoingResponse:
    protocol = used_protocol.get()
    duration_ms = round((time.monotonic() - started) * 1000)
    return OutgoingResponse(status, headers, head, duration_ms, "" if protocol is None else protocol.peer)


def _partial_response(started: float) -> OutgoingResponse | None:
    protocol = used_protocol.get()
    # Not by truth: a protocol without queued messages is false.
    received = None if protocol is None else protocol.received_head()
    return None if received is None else _response(*received, started)


@lru_cache(maxsize=256)
def _check_url(url: str, policy: Policy) -> None:
    # Cached, because few URLs repeat often. The check that matters is that of the connected address.
    check_url(url, policy)


@lru_cache(maxsize=256)
def _target(url: str) -> URL:
    """Keeps the percent-encoding as entered; yarl would decode `%7E` and rewrite `%2f`. Raises RefusedError."""
    parts = urlsplit(url)
    try:
        authority = URL(f"{parts.scheme}://{parts.netloc}").raw_authority
    except ValueError:  # for example a host name that has no form in ASCII
        raise RefusedError("The URL is not valid.") from None
    return URL.build(
        scheme=parts.scheme,
        authority=authority,
        path=_quoted(parts.path) or "/",
        query_string=_quoted(parts.query),
        encoded=True,
    )


def _quoted(text: str) -> str:
    return NOT_IN_URL.sub(lambda found: quote(found[0], safe="", errors="replace"), text)


@lru_cache(maxsize=64)
def _ssl(tls: Tls) -> ssl.SSLContext | bool:
    if not tls.verify:
        return False
    return ssl.create_default_context(cadata=tls.authorities) if tls.authorities else True


async def _read_head(response: ClientResponse) -> bytes:
    # Reads up to MAX_READ although it keeps less, so that most servers can finish sending.
    head, read = b"", 0
    # A body that is cut off, malformed or endless changes nothing about the status.
    with contextlib.suppress(aiohttp.ClientError, OSError, ValueError):
        async with asyncio.timeout(BODY_SECONDS):
            async for chunk in response.content.iter_any():
                head = (head + chunk)[:MAX_BODY_HEAD] if len(head) < MAX_BODY_HEAD else head
                read += len(chunk)
                if read >= MAX_READ:
                    break
    return head


def _with_default_headers(headers: Any) -> dict[str, str]:
    return {
        "User-Agent": f"{settings.PRODUCT}/{settings.VERSION}",
        "Accept": "*/*",
        **headers,
        "Accept-Encoding": "identity",
    }


async def send(
    client: Client, request: OutgoingRequest, *, policy: Policy | None = None, deadline: float = 15.0
) -> OutgoingResponse:
    # A session has one policy, so another policy needs another session.
    if policy is None or policy == client.policy:
        return await client.send(request, deadline=deadline)
    async with Client(policy) as other:
        return await other.send(request, deadline=deadline)
