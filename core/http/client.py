"""Sends requests with aiohttp, within bounds of time, bytes and addresses."""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
import ssl
import time
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Self
from urllib.parse import quote, urlsplit

import aiohttp
from aiohttp.client_reqrep import ClientResponse
from aiohttp.payload import BytesPayload
from django.conf import settings
from yarl import URL

from .connector import Connector, used_protocol, wants_new, was_kept
from .failures import transport_error
from .messages import OutgoingRequest, OutgoingResponse, RefusedError, Tls, check_headers
from .policy import Policy
from .resolver import GuardedResolver
from .response_head import merged_headers
from .urls import check_url

CONNECT_SECONDS = 5.0
BODY_SECONDS = 5.0
MOST_READ = 64 * 1024
MOST_KEPT = 4 * 1024
# Names what we set ourselves; an answer that is not compressed cannot grow beyond what was read.
# Whatever RFC 3986 does not allow in path and query, such as `ä`, `|`, and `%` that begins no escape.
NOT_IN_URL = re.compile(r"%(?![0-9A-Fa-f]{2})|[^A-Za-z0-9%._~:/?\[\]@!$&'()*+,;=-]")
OWN_HEADERS = ("Content-Type", "User-Agent", "Accept-Encoding", "Accept")


GONE = (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError, aiohttp.ClientConnectionResetError)


class Client:
    """A session for many requests; it keeps connections for a moment. Use it as `async with`, in one loop."""

    def __init__(self, policy: Policy | None = None) -> None:
        self.policy = policy or Policy.from_settings()
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        connector = Connector(GuardedResolver(self.policy), socket_factory=self._socket)
        self._session = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None, connect=CONNECT_SECONDS, sock_connect=CONNECT_SECONDS),
            skip_auto_headers=OWN_HEADERS,
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
        """The response, whatever its status. `deadline`: seconds for everything together, the reading included.

        A response counts from its status line on: what follows may be cut off, endless or malformed. Raises
        RefusedError when our rules forbid the request, TransportError without a status line in time.
        """
        if self._session is None:
            raise RuntimeError("Client is used outside of `async with`")
        _check_url(request.url, self.policy)
        check_headers(request.headers)
        started = time.monotonic()
        used_protocol.set(None)
        try:
            async with asyncio.timeout(deadline):
                return await self._sent(self._session, request, started)
        except aiohttp.InvalidURL:
            raise RefusedError("The URL cannot be used.") from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            # With its status line the receiver has decided: sending again could repeat the message.
            if response := _partial_response(started):
                return response
            raise transport_error(error, deadline) from error

    async def _sent(
        self, session: aiohttp.ClientSession, request: OutgoingRequest, started: float
    ) -> OutgoingResponse:
        """A kept connection that ends before it answers had mostly been closed before it was asked."""
        try:
            return await self._exchange(session, request, started)
        except GONE:
            if not was_kept.get() or _partial_response(started):
                raise
        new = wants_new.set(True)
        try:
            return await self._exchange(session, request, started)
        finally:
            wants_new.reset(new)

    async def _exchange(
        self, session: aiohttp.ClientSession, request: OutgoingRequest, started: float
    ) -> OutgoingResponse:
        async with session.request(
            request.method,
            _target(request.url),
            headers=_with_own(request.headers),
            data=BytesPayload(request.body) if request.body else None,  # as aiohttp would find out in the end
            allow_redirects=False,
            ssl=_ssl(request.tls),
        ) as response:
            head = await _head(response)
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
    """The same few are asked for again and again. What decides is the address that is dialled in the end."""
    check_url(url, policy)


@lru_cache(maxsize=256)
def _target(url: str) -> URL:
    """The URL with its percent-encoding as it was entered; yarl would decode `%7E` and rewrite `%2f`.

    Raises RefusedError.
    """
    parts = urlsplit(url)
    try:
        authority = URL(f"{parts.scheme}://{parts.netloc}").raw_authority
    # For example a host name that has no form in ASCII.
    except ValueError:
        raise RefusedError("The URL cannot be used.") from None
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


async def _head(response: ClientResponse) -> bytes:
    """The first bytes of the body. Reads on for a while, so that most senders can finish what they say."""
    head, read = b"", 0
    # A body that is cut off, malformed or endless changes nothing about the status.
    with contextlib.suppress(aiohttp.ClientError, OSError, ValueError):
        async with asyncio.timeout(BODY_SECONDS):
            async for chunk in response.content.iter_any():
                head = (head + chunk)[:MOST_KEPT] if len(head) < MOST_KEPT else head
                read += len(chunk)
                if read >= MOST_READ:
                    break
    return head


def _with_own(headers: Any) -> dict[str, str]:
    return {
        "User-Agent": f"{settings.PRODUCT}/{settings.VERSION}",
        "Accept": "*/*",
        **headers,
        "Accept-Encoding": "identity",
    }


async def send(
    client: Client, request: OutgoingRequest, *, policy: Policy | None = None, deadline: float = 15.0
) -> OutgoingResponse:
    """`client.send`. A `policy` of its own gets a session of its own, since a session dials by one policy."""
    if policy is None or policy == client.policy:
        return await client.send(request, deadline=deadline)
    async with Client(policy) as other:
        return await other.send(request, deadline=deadline)
