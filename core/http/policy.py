"""Where requests may go: WEBHOOK_NETWORK, and never to the monitor's own services."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any, Self
from urllib.parse import urlsplit

import psutil

from .addresses import Reach, carried, judged
from .messages import RefusedError

NETWORKS: dict[str, frozenset[Reach]] = {
    "lan": frozenset({Reach.PUBLIC, Reach.LOCAL}),
    "public": frozenset({Reach.PUBLIC}),
    "open": frozenset(Reach),
}
WEB_PORTS = frozenset({80, 443})
DATABASE_PORTS = {"django.db.backends.postgresql": 5432, "django.db.backends.mysql": 3306}
REDIS_PORT = 6379


@dataclass(frozen=True)
class Policy:
    """`own_ports` are refused on this machine, `service_ports` (database, Redis) on every address."""

    network: str = "lan"
    own_ports: frozenset[int] = frozenset()
    service_ports: frozenset[int] = frozenset()

    def __post_init__(self) -> None:
        if self.network not in NETWORKS:
            raise ValueError(f"{self.network!r} is no network; there are {', '.join(NETWORKS)}")

    @classmethod
    def from_settings(cls) -> Self:
        from django.conf import settings

        return cls(
            network=settings.WEBHOOK_NETWORK,
            own_ports=frozenset({int(settings.BIND.rpartition(":")[2])}),
            service_ports=_service_ports(settings.DATABASES, settings.REDIS_URL),
        )

    def check(self, address: str, port: int) -> None:
        """Raises RefusedError when the IP address `address` may not be dialled at `port`."""
        try:
            reach, name = judged(address)
        except ValueError:
            raise RefusedError(f"{address!r} is no IP address.") from None
        if reach not in NETWORKS[self.network]:
            raise RefusedError(f"{address} is {name}; WEBHOOK_NETWORK={self.network} does not allow it.")
        if port in self.service_ports:
            raise RefusedError(f"Port {port} is that of the monitor's own database or Redis.")
        if port in self.own_ports and is_this_machine(address):
            raise RefusedError(f"{address} port {port} is the monitor itself.")


def is_this_machine(address: str) -> bool:
    """Whether what is sent to `address` arrives here."""
    wanted = carried(ip_address(address.partition("%")[0]))
    if wanted.is_loopback or wanted.is_unspecified:
        return True
    interfaces = psutil.net_if_addrs().values()
    return str(wanted) in {
        entry.address.partition("%")[0]
        for entries in interfaces
        for entry in entries
        if entry.family in (socket.AF_INET, socket.AF_INET6)
    }


def _service_ports(databases: dict[str, dict[str, Any]], redis_url: str) -> frozenset[int]:
    ports = {
        int(database.get("PORT") or DATABASE_PORTS[database["ENGINE"]])
        for database in databases.values()
        if database["ENGINE"] in DATABASE_PORTS
    }
    if urlsplit(redis_url).scheme in ("redis", "rediss"):
        ports.add(urlsplit(redis_url).port or REDIS_PORT)
    # A database behind a gateway at a port of the web must not forbid all of the web.
    return frozenset(ports) - WEB_PORTS
