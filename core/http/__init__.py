"""The one way out: every request the monitor makes to others goes through here.

    async with Client(Policy.from_settings()) as client:
        response = await client.send(OutgoingRequest("POST", url, headers, body), deadline=15)

The address actually dialled is checked against WEBHOOK_NETWORK, whatever the URL looked like and whatever its name
resolved to before. No redirects, no proxy from the environment, TLS verified, bounded in time and in bytes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .messages import VERIFIED, OutgoingRequest, OutgoingResponse, RefusedError, Tls, TransportError, check_headers
from .policy import NETWORKS, Policy
from .urls import check_url, masked_url

if TYPE_CHECKING:
    from .client import Client, send

__all__ = [
    "NETWORKS",
    "VERIFIED",
    "Client",
    "OutgoingRequest",
    "OutgoingResponse",
    "Policy",
    "RefusedError",
    "Tls",
    "TransportError",
    "check_headers",
    "check_url",
    "masked_url",
    "send",
]


def __getattr__(name: str) -> Any:
    """aiohttp takes 15 MB, and those who only check an address do not need it."""
    if name in ("Client", "send"):
        from . import client

        return getattr(client, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
