"""The head of a response as received, for responses that the HTTP parser refuses or that end too early."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from aiohttp.client_proto import ResponseHandler

MAX_HEAD = 64 * 1024
STATUS_LINE = re.compile(rb"\s*HTTP/\d(?:\.\d)? +(\d{3})(?=[ \r\n])")
HEAD_END = re.compile(rb"\r?\n\r?\n")


class RecordingHandler(ResponseHandler):
    """aiohttp's protocol of a connection; also records the head of the present response, and who sends it."""

    peer = ""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._clear()

    def _clear(self) -> None:
        self._head = bytearray()
        self._is_complete = False

    def connection_made(self, transport: Any) -> None:
        address = transport.get_extra_info("peername")
        self.peer = address[0] if address else ""
        super().connection_made(transport)

    def set_response_params(self, **options: Any) -> None:
        # aiohttp calls this before each request on the connection.
        self._clear()
        super().set_response_params(**options)

    def data_received(self, data: bytes) -> None:
        if not self._is_complete:
            self._record(data)
        super().data_received(data)

    def _record(self, data: bytes) -> None:
        # Line breaks in front of the status line are no end of a head.
        self._head = (self._head + data[: MAX_HEAD - len(self._head)]).lstrip()
        while end := HEAD_END.search(self._head):
            if not is_interim(_status(self._head)):
                self._is_complete = True
                del self._head[end.end() :]
                return
            del self._head[: end.end()]

    def received_head(self) -> tuple[int, dict[str, str]] | None:
        """Status and the complete header lines; None before the status line of a final response."""
        status = _status(self._head)
        if status is None or is_interim(status):
            return None
        # The part behind the last line break may be cut off.
        lines = self._head.decode(errors="replace").split("\n")[1:-1]
        pairs = (line.partition(":") for line in lines)
        return status, merged_headers((name, value) for name, colon, value in pairs if colon)


def _status(head: bytearray) -> int | None:
    found = STATUS_LINE.match(head)
    return int(found[1]) if found else None


def is_interim(status: int | None) -> bool:
    """Whether another response follows, as after 100 Continue; 101 is final."""
    return status is not None and 100 <= status < 200 and status != 101


def merged_headers(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """By name in lower case. Values of a repeated header are joined with a comma (RFC 9110, 5.2)."""
    found: dict[str, str] = {}
    for name, value in ((name.strip().lower(), value.strip()) for name, value in pairs):
        found[name] = f"{found[name]}, {value}" if name in found else value
    return found
