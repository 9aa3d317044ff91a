"""Rings on one host: datagrams to a Unix socket, or over UDP on loopback where there are none (Windows)."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import select
import socket
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from django.conf import settings

HAS_UNIX_SOCKETS = hasattr(socket, "AF_UNIX")
MAX_SOCKET_PATH = 100  # sockaddr_un holds 104 to 108 bytes, depending on the system


def ring(name: str) -> None:
    family = socket.AF_UNIX if HAS_UNIX_SOCKETS else socket.AF_INET
    # No listener, or a full buffer that wakes the listener anyway: both are fine.
    with contextlib.suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as sender:
        sender.setblocking(False)
        sender.sendto(b"!", _address(name))


@contextlib.asynccontextmanager
async def listen(name: str) -> AsyncIterator[asyncio.Event]:
    event = asyncio.Event()
    receiver = _bound_socket(name)
    receiver.setblocking(False)

    class Receive(asyncio.DatagramProtocol):
        def datagram_received(self, data: bytes, addr: Any) -> None:
            event.set()

    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(Receive, sock=receiver)
    try:
        yield event
    finally:
        transport.close()


class Socket:
    """A blocking listener."""

    def __init__(self, name: str) -> None:
        self._socket = _bound_socket(name)

    def wait(self, timeout: float) -> bool:
        if not select.select([self._socket], [], [], timeout)[0]:
            return False
        self._socket.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while self._socket.recv(16):  # rings that came together count as one
                pass
        return True


def _socket_path(name: str) -> Path:
    path = Path(settings.RUN_DIR) / f"{name}.bell"
    if len(os.fsencode(path)) <= MAX_SOCKET_PATH:
        return path
    digest = hashlib.sha256(os.fsencode(path)).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"monitor-{os.getuid()}-{digest}" / f"{name}.bell"


def _address(name: str) -> Any:
    if HAS_UNIX_SOCKETS:
        return str(_socket_path(name))
    return ("127.0.0.1", int((Path(settings.RUN_DIR) / f"{name}.port").read_text()))


def _bound_socket(name: str) -> socket.socket:
    if not HAS_UNIX_SOCKETS:
        return _bound_udp_socket(name)
    path = _socket_path(name)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    bound = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    bound.bind(str(path))
    return bound


def _bound_udp_socket(name: str) -> socket.socket:
    bound = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    bound.bind(("127.0.0.1", 0))
    Path(settings.RUN_DIR).mkdir(mode=0o700, parents=True, exist_ok=True)
    (Path(settings.RUN_DIR) / f"{name}.port").write_text(str(bound.getsockname()[1]))
    return bound
