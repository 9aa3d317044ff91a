"""Receives webhooks and records when each arrived. Never answers paths that contain `hang`."""

from __future__ import annotations

import asyncio
import sys
import time
from typing import Any

from bench.helper_processes.json_lines import answer_request

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
LENGTH = b"content-length: "


class Receiver:
    def __init__(self) -> None:
        self.arrivals: list[tuple[float, str, str]] = []
        self.connections = 0

    def count(self) -> dict[str, Any]:
        return {"count": len(self.arrivals)}

    def take(self) -> dict[str, Any]:
        """The arrivals since the previous call: (monotonic time, path, event id), and new connections."""
        taken, self.arrivals = self.arrivals, []
        connections, self.connections = self.connections, 0
        return {"arrivals": taken, "connections": connections}


class Connection(asyncio.Protocol):
    def __init__(self, receiver: Receiver) -> None:
        self.receiver = receiver
        self.data = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.receiver.connections += 1
        self.transport: Any = transport

    def data_received(self, data: bytes) -> None:
        self.data += data
        while (end := self.data.find(b"\r\n\r\n")) >= 0:
            head = self.data[:end].lower()
            length = int(head.partition(LENGTH)[2].partition(b"\r\n")[0] or 0)
            if len(self.data) < end + 4 + length:
                return
            body, self.data = self.data[end + 4 : end + 4 + length], self.data[end + 4 + length :]
            self.request_received(head, body)

    def request_received(self, head: bytes, body: bytes) -> None:
        path = head.split(b" ", 2)[1].decode()
        event = body.split(b'"', 4)[3].decode()  # the bodies begin with {"id": "evt_…"
        self.receiver.arrivals.append((time.monotonic(), path, event))
        if "hang" in path:
            return
        self.transport.write(OK)
        if b"\r\nconnection: close" in head:
            self.transport.close()


async def main() -> None:
    receiver, loop = Receiver(), asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(receiver), "127.0.0.1", 0, backlog=1024)
    is_done = asyncio.Event()
    port = server.sockets[0].getsockname()[1]
    commands = {"port": lambda: {"port": port}, "count": receiver.count, "take": receiver.take}

    def read_request() -> None:
        if not answer_request(commands):
            is_done.set()

    loop.add_reader(sys.stdin, read_request)
    await is_done.wait()


if __name__ == "__main__":
    asyncio.run(main())
