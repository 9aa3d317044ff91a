"""Keeps connections for a moment, and uses one again only while its name still leads to where it goes."""

from __future__ import annotations

from contextvars import ContextVar
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import aiohttp

from .addresses import literal
from .response_head import RecordingHandler

if TYPE_CHECKING:
    from aiohttp.client_reqrep import ConnectionKey
    from aiohttp.connector import Connection

    from .resolver import GuardedResolver

# Servers end what lies idle after two seconds and more; who asks again just then finds the connection gone.
KEPT_SECONDS = 1.0

was_kept: ContextVar[bool] = ContextVar("was_kept", default=False)
"""Whether the connection that the current task was given last had been used before."""
wants_new: ContextVar[bool] = ContextVar("wants_new", default=False)
"""Set to have what is kept to that place closed, and a new connection made."""
used_protocol: ContextVar[RecordingHandler | None] = ContextVar("used_protocol", default=None)
"""The protocol of the connection that the current task was given last."""


class Connector(aiohttp.TCPConnector):
    def __init__(self, resolver: GuardedResolver, **options: Any) -> None:
        super().__init__(
            resolver=resolver, use_dns_cache=False, keepalive_timeout=KEPT_SECONDS, limit=0, **options
        )
        self._names = resolver
        self._factory = partial(RecordingHandler, loop=self._loop)  # type: ignore[assignment]  # a subclass

    async def connect(self, req: Any, traces: Any, timeout: Any) -> Connection:
        """Raises RefusedError, like the resolver, when a name may no longer be dialled."""
        was_kept.set(False)
        used_protocol.set(None)
        key: ConnectionKey = req.connection_key
        if wants_new.get():
            self._close_all_but(key, frozenset())
        elif key in self._conns and literal(key.host) is None:
            self._close_all_but(key, await self._addresses(key))
        # From here to the choice nothing is awaited: what is kept now was looked at just before.
        kept = {protocol for protocol, _ in self._conns.get(key, ())}
        connection = await super().connect(req, traces, timeout)
        was_kept.set(connection.protocol in kept)
        used_protocol.set(cast(RecordingHandler, connection.protocol))
        return connection

    async def _addresses(self, key: ConnectionKey) -> frozenset[str]:
        """Where the name leads now; nowhere when it cannot be told, which the new connection will say better."""
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
