"""The address of the web process: whether it is free, whether it responds, and its public URL."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
from collections.abc import Sequence

WILDCARDS = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  (compared with, not listened on)
RESPONSE_SECONDS = 1.0
HEALTH_PATH = "/api/system/health"


class AddressError(Exception):
    """The address cannot be used; the text says why and what to do."""


def choose_port(host: str, port: int) -> int:
    """Returns `port`, or a free port if it is 0. Raises AddressError when nothing can listen there."""
    try:
        infos = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, _, _, _, address = infos[0]
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            if os.name == "posix":
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
            probe.listen(1)
            chosen: int = probe.getsockname()[1]
            return chosen
    except OSError as error:
        raise AddressError(_reason(host, port, error)) from error


def _reason(host: str, port: int, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"Port {port} is in use{_user_of(port)}. Stop that program, or choose another port with --bind."
    reasons = {
        errno.EACCES: f"This user may not listen on port {port}. Choose one above 1023 with --bind.",
        errno.EADDRNOTAVAIL: f"{host} is not an address of this machine. Use --bind 0.0.0.0:{port} for all.",
    }
    return reasons.get(error.errno or 0, f"Cannot listen on {host}:{port}: {error.strerror or error}")


def _user_of(port: int) -> str:
    """` by nginx (pid 42)`; empty where the system does not show it."""
    import psutil

    with contextlib.suppress(psutil.Error):
        for connection in psutil.net_connections("tcp"):
            is_it = connection.status == psutil.CONN_LISTEN and getattr(connection.laddr, "port", None) == port
            if is_it and connection.pid:
                return f" by {psutil.Process(connection.pid).name()} (pid {connection.pid})"
    return ""


def responds(host: str, port: int) -> bool:
    """Whether an HTTP server responds there, with any status."""
    with contextlib.suppress(OSError):
        with socket.create_connection((WILDCARDS.get(host, host), port), timeout=RESPONSE_SECONDS) as connection:
            connection.sendall(f"GET {HEALTH_PATH} HTTP/1.0\r\nHost: localhost\r\n\r\n".encode())
            return connection.recv(5) == b"HTTP/"
    return False


def public_url(host: str, port: int, allowed_hosts: Sequence[str], trusted_origins: Sequence[str]) -> str:
    """The URL of the site, without a trailing slash.

    Prefers a trusted origin, which is the address of a reverse proxy. For a wildcard address it uses the first
    allowed host that is not a pattern.
    """
    plain = [origin for origin in trusted_origins if "*" not in origin]
    if plain:
        return plain[0].rstrip("/")
    if host in WILDCARDS:
        named = [name for name in allowed_hosts if not name.startswith(("*", "."))]
        host = named[0] if named else WILDCARDS[host]
    host = host.strip("[]")
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"
