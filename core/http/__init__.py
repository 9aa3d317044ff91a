"""The HTTP client for all outgoing requests of the monitor.

    async with Client(Policy.from_settings()) as client:
        response = await client.send(OutgoingRequest("POST", url, headers, body), deadline=15)

The address of each connection is checked against WEBHOOK_NETWORK, not only the URL. Follows no redirects, uses no
proxy from the environment, verifies TLS, and limits time and bytes.
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
    # Imported late: aiohttp takes 15 MB, and callers that only check a URL do not need it.
    if name in ("Client", "send"):
        from . import client

        return getattr(client, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
