"""Keeps connections briefly and reuses one only while its host name still resolves to its address."""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import aiohttp

from .addresses import parse_ip_literal

if TYPE_CHECKING:
    from aiohttp.client_reqrep import ConnectionKey
    from aiohttp.connector import Connection

    from .resolver import GuardedResolver

# Servers close idle connections after two seconds or more; keep ours for less, or requests would fail.
KEEPALIVE_SECONDS = 1.0

was_reused: ContextVar[bool] = ContextVar("was_kept", default=False)
"""Whether the latest connection of the current task had been used before."""
force_new_connection: ContextVar[bool] = ContextVar("wants_new", default=False)
"""Set it to close the kept connections to that host and to open a new one."""


class Connector(aiohttp.TCPConnector):
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
