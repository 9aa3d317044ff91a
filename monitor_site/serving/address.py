"""Where the web part listens: is the place free, does it answer, and what people should type."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
from collections.abc import Sequence

WILDCARDS = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  (compared with, not listened on)
ANSWER_SECONDS = 1.0
HEALTH_PATH = "/api/system/health"


class AddressError(Exception):
    """The address cannot be listened on; the text says why and what to do."""


def claim(host: str, port: int) -> int:
    """The port that will be listened on: `port`, or a free one when it is 0. Raises AddressError."""
    try:
        family, _, _, _, place = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[
            0
        ]
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            if os.name == "posix":
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(place)
            probe.listen(1)
            claimed: int = probe.getsockname()[1]
            return claimed
    except OSError as error:
        raise AddressError(_why_not(host, port, error)) from error


def _why_not(host: str, port: int, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"Port {port} is taken{_holder(port)}. Stop that, or choose another port with --bind."
    reasons = {
        errno.EACCES: f"Port {port} needs rights this user lacks. Choose one above 1023 with --bind.",
        errno.EADDRNOTAVAIL: f"This machine has no address {host}. --bind 0.0.0.0:{port} listens on all it has.",
    }
    return reasons.get(error.errno or 0, f"Cannot listen on {host}:{port}: {error.strerror or error}")


def _holder(port: int) -> str:
    """` by nginx (pid 42)`, where the system lets us see it."""
    import psutil

    with contextlib.suppress(psutil.Error):
        for connection in psutil.net_connections("tcp"):
            is_it = connection.status == psutil.CONN_LISTEN and getattr(connection.laddr, "port", None) == port
            if is_it and connection.pid:
                return f" by {psutil.Process(connection.pid).name()} (pid {connection.pid})"
    return ""


def answers(host: str, port: int) -> bool:
    """Whether HTTP is spoken there. Any answer counts: being healthy is another question."""
    with contextlib.suppress(OSError):
        with socket.create_connection((WILDCARDS.get(host, host), port), timeout=ANSWER_SECONDS) as connection:
            connection.sendall(f"GET {HEALTH_PATH} HTTP/1.0\r\nHost: localhost\r\n\r\n".encode())
            return connection.recv(5) == b"HTTP/"
    return False


def public_url(host: str, port: int, allowed_hosts: Sequence[str], trusted_origins: Sequence[str]) -> str:
    """The address people open, without a slash at the end.

    A trusted origin is how a reverse proxy is reached; behind a wildcard address the first name that is allowed
    and not a pattern is used.
    """
    plain = [origin for origin in trusted_origins if "*" not in origin]
    if plain:
        return plain[0].rstrip("/")
    if host in WILDCARDS:
        named = [name for name in allowed_hosts if not name.startswith(("*", "."))]
        host = named[0] if named else WILDCARDS[host]
    host = host.strip("[]")
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"
