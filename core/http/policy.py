"""Which addresses requests may go to: WEBHOOK_NETWORK, and never the monitor's own services."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any, Self
from urllib.parse import urlsplit

import psutil

from .addresses import AddressScope, classify_address, embedded_ipv4
from .messages import RefusedError

NETWORKS: dict[str, frozenset[AddressScope]] = {
    "lan": frozenset({AddressScope.PUBLIC, AddressScope.LOCAL}),
    "public": frozenset({AddressScope.PUBLIC}),
    "open": frozenset(AddressScope),
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
            raise ValueError(f"{self.network!r} is not a network; use one of {', '.join(NETWORKS)}")

    @classmethod
    def from_settings(cls) -> Self:
        from django.conf import settings

        return cls(
            network=settings.WEBHOOK_NETWORK,
            own_ports=frozenset({int(settings.BIND.rpartition(":")[2])}),
            service_ports=_service_ports(settings.DATABASES, settings.REDIS_URL),
        )

    def check(self, address: str, port: int) -> None:
        """Raises RefusedError when connections to the IP address `address` at `port` are forbidden."""
        try:
            scope, name = classify_address(address)
        except ValueError:
            raise RefusedError(f"{address!r} is not an IP address.") from None
        if scope not in NETWORKS[self.network]:
            raise RefusedError(f"{address} is {name}; WEBHOOK_NETWORK={self.network} does not allow it.")
        if port in self.service_ports:
            raise RefusedError(f"Port {port} is used by the monitor's own database or Redis.")
        if port in self.own_ports and is_this_machine(address):
            raise RefusedError(f"{address} port {port} is the monitor itself.")


def is_this_machine(address: str) -> bool:
    wanted = embedded_ipv4(ip_address(address.partition("%")[0]))
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
    # A database gateway on port 80 or 443 must not block the whole web.
    return frozenset(ports) - WEB_PORTS
