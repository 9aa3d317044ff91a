"""Sends requests with aiohttp and limits their time, bytes and addresses."""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from contextvars import ContextVar
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Self

import aiohttp
from aiohttp.client_reqrep import ClientResponse
from aiohttp.payload import BytesPayload
from django.conf import settings

from .addresses import parse_ip_literal
from .failures import transport_error
from .messages import OutgoingRequest, OutgoingResponse, RefusedError, Tls, check_headers
from .policy import Policy
from .resolver import GuardedResolver
from .urls import check_url

if TYPE_CHECKING:
    from aiohttp.client_reqrep import ConnectionKey
    from aiohttp.connector import Connection

CONNECT_SECONDS = 5.0
MAX_READ = 64 * 1024
MAX_BODY_HEAD = 4 * 1024
# aiohttp must not set these. We request no compression: a compressed response could expand without limit.
DEFAULT_HEADERS = ("Content-Type", "User-Agent", "Accept-Encoding", "Accept")
CONNECTION_LOST = (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError, aiohttp.ClientConnectionResetError)
# Servers close idle connections after two seconds or more; keep ours for less, or requests would fail.
KEEPALIVE_SECONDS = 1.0

was_reused: ContextVar[bool] = ContextVar("was_reused", default=False)
"""Whether the latest connection of the current task had been used before."""
force_new_connection: ContextVar[bool] = ContextVar("force_new_connection", default=False)
"""Set it to close the kept connections to that host and to open a new one."""


class Connector(aiohttp.TCPConnector):
    """Reuses a connection only while its host name still resolves to its address."""

    def __init__(self, resolver: GuardedResolver, **options: Any) -> None:
        super().__init__(
            resolver=resolver, use_dns_cache=False, keepalive_timeout=KEEPALIVE_SECONDS, limit=0, **options
        )
        self._names = resolver

    async def connect(self, req: Any, traces: Any, timeout: Any) -> Connection:
        """Raises RefusedError when the policy no longer allows the resolved addresses."""
        was_reused.set(False)
        key: ConnectionKey = req.connection_key
        if force_new_connection.get():
            self._close_all_but(key, frozenset())
        elif key in self._conns and parse_ip_literal(key.host) is None:
            self._close_all_but(key, await self._addresses(key))
        # No await until a connection is chosen, so all kept connections have just been checked.
        kept = {protocol for protocol, _ in self._conns.get(key, ())}
        connection = await super().connect(req, traces, timeout)
        was_reused.set(connection.protocol in kept)
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


class _Response(ClientResponse):
    """Stores the peer address before a short response releases the connection."""

    peer = ""

    async def start(self, connection: Any) -> ClientResponse:
        address = connection.transport.get_extra_info("peername") if connection.transport else None
        self.peer = address[0] if address else ""
        return await super().start(connection)


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
            response_class=_Response,
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

        Raises RefusedError when the policy forbids it, TransportError without a complete response in time.
        """
        if self._session is None:
            raise RuntimeError("use Client with `async with`")
        _check_url(request.url, self.policy)
        check_headers(request.headers)
        started = time.monotonic()
        try:
            async with asyncio.timeout(deadline):
                return await self._send_with_retry(self._session, request, started)
        except aiohttp.InvalidURL:
            raise RefusedError("The URL is not valid.") from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise transport_error(error, deadline) from error

    async def _send_with_retry(
        self, session: aiohttp.ClientSession, request: OutgoingRequest, started: float
    ) -> OutgoingResponse:
        # If a reused connection fails, the server had most likely closed it before the request.
        try:
            return await self._exchange(session, request, started)
        except CONNECTION_LOST:
            if not was_reused.get():
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
            request.url,
            headers=_with_default_headers(request.headers),
            data=BytesPayload(request.body) if request.body else None,  # saves aiohttp the detection of the type
            allow_redirects=False,
            ssl=_ssl(request.tls),
        ) as response:
            head = await _read_head(response)
            return OutgoingResponse(
                status=response.status,
                headers={name.lower(): value for name, value in response.headers.items()},
                body_head=head,
                duration_ms=round((time.monotonic() - started) * 1000),
                peer=getattr(response, "peer", ""),
            )


@lru_cache(maxsize=256)
def _check_url(url: str, policy: Policy) -> None:
    # Cached, because few URLs repeat often. The check that matters is that of the connected address.
    check_url(url, policy)


@lru_cache(maxsize=64)
def _ssl(tls: Tls) -> ssl.SSLContext | bool:
    if not tls.verify:
        return False
    return ssl.create_default_context(cadata=tls.authorities) if tls.authorities else True


async def _read_head(response: ClientResponse) -> bytes:
    # Reads up to MAX_READ although it keeps less, so that most servers can finish sending.
    head, read = b"", 0
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
