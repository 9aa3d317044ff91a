"""Maps errors of aiohttp to a few kinds, each with a message that does not contain the URL."""

from __future__ import annotations

import os
import ssl
from collections.abc import Callable

import aiohttp

from .messages import FailureKind, TransportError

Describe = Callable[[BaseException, float], str]


def _os_text(error: BaseException) -> str:
    cause = getattr(error, "os_error", None) or error
    number = getattr(cause, "errno", None)
    # strerror cannot be used, because asyncio puts the address into it.
    known = os.strerror(number) if isinstance(number, int) and number > 0 else getattr(cause, "strerror", None)
    return str(known or cause or type(error).__name__)


def _unresolved(error: BaseException, deadline: float) -> str:
    host = getattr(error, "host", "")
    return f"Cannot resolve {host} ({_os_text(error)})."


def _not_connected(error: BaseException, deadline: float) -> str:
    return f"Cannot connect to {getattr(error, 'host', '')} port {getattr(error, 'port', '')}: {_os_text(error)}."


def _certificate(error: BaseException, deadline: float) -> str:
    cause = getattr(error, "certificate_error", None) or error
    return f"The certificate is not accepted: {getattr(cause, 'verify_message', '') or cause}."


def _tls(error: BaseException, deadline: float) -> str:
    cause = getattr(error, "os_error", None) or error
    return f"TLS failed: {getattr(cause, 'reason', None) or cause}."


# The first match decides, so subclasses come before their base classes.
KINDS: tuple[tuple[type[BaseException], FailureKind, bool, Describe], ...] = (
    (aiohttp.ConnectionTimeoutError, "timeout", False, lambda error, deadline: "Connecting timed out."),
    (TimeoutError, "timeout", True, lambda error, deadline: f"No complete response within {deadline:g} s."),
    (aiohttp.ClientConnectorDNSError, "dns", False, _unresolved),
    (aiohttp.ClientConnectorCertificateError, "tls", False, _certificate),
    (aiohttp.ClientConnectorSSLError, "tls", False, _tls),
    (aiohttp.ClientConnectorError, "refused", False, _not_connected),
    (ssl.SSLError, "tls", True, _tls),
    (
        aiohttp.ServerDisconnectedError,
        "reset",
        True,
        lambda error, deadline: "The connection was closed before a response arrived.",
    ),
    (aiohttp.ClientPayloadError, "reset", True, lambda error, deadline: "The response ended too early."),
    (aiohttp.ClientConnectionError, "reset", True, lambda error, deadline: f"Connection lost: {_os_text(error)}."),
    (OSError, "reset", True, lambda error, deadline: f"Connection lost: {_os_text(error)}."),
    (aiohttp.ClientResponseError, "malformed", True, lambda error, deadline: "The response is not valid HTTP."),
    (Exception, "malformed", True, lambda error, deadline: f"Unexpected error ({type(error).__name__})."),
)


def transport_error(error: BaseException, deadline: float) -> TransportError:
    for type_, kind, connected, describe in KINDS:
        if isinstance(error, type_):
            return TransportError(kind, describe(error, deadline), connected=connected)
    raise error
