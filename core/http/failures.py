"""Errors of aiohttp as one of a few kinds, each with a sentence that names no URL."""

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
    # asyncio writes the address into strerror, in Python's spelling.
    known = os.strerror(number) if isinstance(number, int) and number > 0 else getattr(cause, "strerror", None)
    return str(known or cause or type(error).__name__)


def _no_name(error: BaseException, deadline: float) -> str:
    host = getattr(error, "host", "")
    return f"The name {host} is not known ({_os_text(error)})."


def _not_connected(error: BaseException, deadline: float) -> str:
    return f"No connection to {getattr(error, 'host', '')} port {getattr(error, 'port', '')}: {_os_text(error)}."


def _certificate(error: BaseException, deadline: float) -> str:
    cause = getattr(error, "certificate_error", None) or error
    return f"The certificate is not accepted: {getattr(cause, 'verify_message', '') or cause}."


def _tls(error: BaseException, deadline: float) -> str:
    cause = getattr(error, "os_error", None) or error
    return f"TLS failed: {getattr(cause, 'reason', None) or cause}."


# The first type that fits decides: subclasses stand before what they inherit from.
KINDS: tuple[tuple[type[BaseException], FailureKind, bool, Describe], ...] = (
    (aiohttp.ConnectionTimeoutError, "timeout", False, lambda error, deadline: "No connection in time."),
    (TimeoutError, "timeout", True, lambda error, deadline: f"No whole answer within {deadline:g} s."),
    (aiohttp.ClientConnectorDNSError, "dns", False, _no_name),
    (aiohttp.ClientConnectorCertificateError, "tls", False, _certificate),
    (aiohttp.ClientConnectorSSLError, "tls", False, _tls),
    (aiohttp.ClientConnectorError, "refused", False, _not_connected),
    (ssl.SSLError, "tls", True, _tls),
    (aiohttp.ServerDisconnectedError, "reset", True, lambda error, deadline: "The connection ended too early."),
    (aiohttp.ClientPayloadError, "reset", True, lambda error, deadline: "The answer ended too early."),
    (aiohttp.ClientConnectionError, "reset", True, lambda error, deadline: f"Interrupted: {_os_text(error)}."),
    (OSError, "reset", True, lambda error, deadline: f"Interrupted: {_os_text(error)}."),
    (aiohttp.ClientResponseError, "malformed", True, lambda error, deadline: "The answer is no HTTP."),
    (Exception, "malformed", True, lambda error, deadline: f"Not understood ({type(error).__name__})."),
)


def transport_error(error: BaseException, deadline: float) -> TransportError:
    """What `error` means. `deadline` is the seconds that were given."""
    for type_, kind, connected, describe in KINDS:
        if isinstance(error, type_):
            return TransportError(kind, describe(error, deadline), connected=connected)
    raise error
