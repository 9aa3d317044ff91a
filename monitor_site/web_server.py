"""The web server: uvicorn with limits on requests, websocket messages and the time that a shutdown takes.

Why uvicorn, and how it was measured against daphne: docs/adr/0020-web-server.md.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
from collections.abc import Awaitable, Callable
from functools import partial
from http import HTTPStatus
from typing import Any, cast

import structlog
import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from . import problems

MAX_BODY_BYTES = 1024 * 1024
MAX_MESSAGE_BYTES = 64 * 1024
# With longer lines or more headers the websockets library never answers a handshake.
MAX_LINE_BYTES = 8 * 1024
MAX_HEADERS = 100
MAX_HEAD_BYTES = 32 * 1024
HEAD_SECONDS = 20.0
BODY_SECONDS = 60.0
LINGER_SECONDS = 5.0
KEEP_ALIVE_SECONDS = 60
CLOSE_SECONDS = 1.0
STOP_SECONDS = 3
GOING_AWAY = 1001

Message = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[dict[str, Any], Receive, Send], Awaitable[None]]
log = structlog.get_logger(__name__)


class LimitedHttpProtocol(HttpToolsProtocol):
    """Limits the size of a request's head and the time that head and body take: uvicorn limits neither."""

    _timer: asyncio.TimerHandle | None = None
    _awaits_head = True
    _head_bytes = 0
    _is_refused = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        super().connection_made(transport)
        self._start_timer(HEAD_SECONDS, self._refuse, 408)

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._is_refused:
            return
        if self._awaits_head:
            self._head_bytes += len(data)
            if self._timer is None:
                self._start_timer(HEAD_SECONDS, self._refuse, 408)
        super().data_received(data)
        if self._awaits_head and self._head_bytes > MAX_HEAD_BYTES:
            self._refuse(414 if len(self.url) > MAX_LINE_BYTES else 431)

    def on_headers_complete(self) -> None:
        self._start_timer(BODY_SECONDS, self.transport.abort)
        self._awaits_head, self._head_bytes = False, 0
        if status := excess(self.url, self.headers):
            self.app = cast(Any, partial(refuse, status))
            self.url = b"/"  # httptools cannot parse one over 64 KB
            self.ws_protocol_class = None  # no upgrade: a websocket is refused over HTTP, too
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._stop_timer()
        self._awaits_head = True
        super().on_message_complete()

    def _start_timer(self, seconds: float, callback: Callable[..., None], *arguments: Any) -> None:
        self._stop_timer()
        self._timer = self.loop.call_later(seconds, callback, *arguments)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _refuse(self, status: int) -> None:
        """Answer, then drop what still arrives: closing at once would reset the connection before it is read."""
        self._is_refused = True
        line = f"HTTP/1.1 {status} {HTTPStatus(status).phrase}"
        self.transport.write(f"{line}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode())
        self.transport.write_eof()
        self._start_timer(LINGER_SECONDS, self.transport.abort)


def excess(url: bytes, headers: list[tuple[bytes, bytes]]) -> int:
    """The status that refuses this request head; 0 when it is within the limits."""
    if len(url) > MAX_LINE_BYTES:
        return 414
    lines = [len(name) + len(value) for name, value in headers]
    is_within = max(lines, default=0) <= MAX_LINE_BYTES and sum(lines) <= MAX_HEAD_BYTES
    return 0 if is_within and len(lines) <= MAX_HEADERS else 431


class Limits:
    """ASGI middleware: limits request bodies, and ends websockets and streaming responses at a shutdown."""

    def __init__(self, application: Application) -> None:
        self._application = application
        self._streams: set[asyncio.Event] = set()
        self._websockets: set[Send] = set()

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        serve = self._http if scope["type"] == "http" else self._websocket
        try:
            await serve(scope, receive, send)
        except Exception:
            log.exception("web.application_failed", path=scope["path"])
            raise

    async def _http(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        if (body := await read_body(receive)) is None:
            await refuse(413, scope, receive, send)
            return
        unread, stop = [body], asyncio.Event()

        async def receive_part() -> Message:
            return unread.pop() if unread else await receive_until(stop, receive)

        async def send_part(message: Message) -> None:
            await send(message)
            if message.get("more_body"):
                self._streams.add(stop)
                await asyncio.sleep(0)  # `send` does not yield as long as the client keeps up

        try:
            await self._application(scope, receive_part, send_part)
        finally:
            self._streams.discard(stop)

    async def _websocket(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        async def send_message(message: Message) -> None:
            with contextlib.suppress(OSError):  # the client is gone; `receive` reports it
                await send(message)
            await asyncio.sleep(0)

        self._websockets.add(send_message)
        try:
            await self._application(scope, receive, send_message)
        finally:
            self._websockets.discard(send_message)

    async def close_long_lived(self) -> None:
        """Disconnect every streaming response and close every websocket with 1001, within CLOSE_SECONDS."""
        for stop in self._streams:
            stop.set()
        close = {"type": "websocket.close", "code": GOING_AWAY}
        if closing := [asyncio.ensure_future(send(close)) for send in self._websockets]:
            _, blocked = await asyncio.wait(closing, timeout=CLOSE_SECONDS)
            for task in blocked:  # the client does not read
                task.cancel()


async def read_body(receive: Receive) -> Message | None:
    """The whole body as one message, or a disconnect; None when it is too long."""
    body = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if len(body) > MAX_BODY_BYTES:
            return None
        if not message.get("more_body"):
            return {**message, "body": body}


async def receive_until(stop: asyncio.Event, receive: Receive) -> Message:
    """The next message; a disconnect once `stop` is set."""
    tasks = asyncio.ensure_future(receive()), asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        return tasks[0].result() if tasks[0].done() else {"type": "http.disconnect"}
    finally:
        for task in tasks:
            task.cancel()


async def refuse(status: int, scope: dict[str, Any], receive: Receive, send: Send) -> None:
    content = problems.problem(status, f"At most {MAX_BODY_BYTES} bytes." if status == 413 else "").content
    headers = [(b"content-type", problems.MEDIA_TYPE.encode()), (b"content-length", b"%d" % len(content))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": content})


class WebServer(uvicorn.Server):
    """Serves `application` on one address until SIGTERM or SIGINT; `failure` says why it could not listen."""

    def __init__(self, application: Application, host: str, port: int, on_listening: Callable[[], None]) -> None:
        self.limits = Limits(application)
        self.on_listening = on_listening
        self.failure = ""
        config = uvicorn.Config(
            cast(Any, self.limits),
            host=host,
            port=port,
            lifespan="off",
            loop="asyncio",
            http=LimitedHttpProtocol,
            ws="websockets-sansio",
            ws_max_size=MAX_MESSAGE_BYTES,
            ws_per_message_deflate=False,
            log_config=None,
            log_level="critical",  # requests and failures are logged by this project
            access_log=False,
            proxy_headers=False,
            server_header=False,
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=STOP_SECONDS,
            reset_contextvars=True,  # else a pipelined request inherits the thread of the one before it
        )
        super().__init__(config)

    def run(self, sockets: list[socket.socket] | None = None) -> None:
        # uvicorn raises the signal again after the shutdown, for earlier handlers: with these the exit code is 0.
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self.handle_exit)
        try:
            listener = listen(self.config.host, self.config.port)
        except OSError as error:
            self.failure = error.strerror or str(error)
        else:
            super().run([listener])

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.on_listening()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop accepting, end what would stay open, and leave STOP_SECONDS to the other requests."""
        for server in self.servers:
            server.close()
        await self.limits.close_long_lived()
        await super().shutdown(sockets)


def listen(host: str, port: int) -> socket.socket:
    """Raises OSError."""
    listener = socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    # asyncio sets this only on sockets that name their protocol; without it small answers take 40 ms more.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener
