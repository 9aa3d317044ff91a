"""Daphne with limits: on what comes in, on what piles up for a slow reader, and on how long a stop takes."""

# Neither Daphne nor Autobahn nor Twisted has types for what is inherited here.
# mypy: disallow-untyped-calls=False, disallow-subclassing-any=False

from __future__ import annotations

import asyncio
import contextvars
import time
from collections.abc import Awaitable, Callable
from typing import Any

import structlog
from daphne.endpoints import build_endpoint_description_strings
from daphne.http_protocol import HTTPFactory, WebRequest
from daphne.server import Server  # installs the asyncio reactor, so it comes before Twisted's own modules
from daphne.ws_protocol import WebSocketFactory, WebSocketProtocol
from twisted.internet import reactor as installed_reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import serverFromString
from twisted.internet.interfaces import IPushProducer
from twisted.logger import globalLogBeginner
from zope.interface.declarations import implementer

from . import problems

reactor: Any = installed_reactor
LONGEST_BODY = 1024 * 1024
LONGEST_MESSAGE = 64 * 1024
WORTH_SHARING = 16 * 1024  # characters
STOP_SECONDS = 3.0
CANCEL_SECONDS = 1.0
GOING_AWAY = 1001
SERVER_CODES = (GOING_AWAY, 1009, 1011)  # … a message too long, an error of ours
log = structlog.get_logger(__name__)


@implementer(IPushProducer)
class Valve:
    """Closed by Twisted while a reader has more than 64 KB to take; whoever writes waits for it.

    Daphne by itself would take everything an application sends and hold it in memory.
    """

    def __init__(self) -> None:
        self._is_open = asyncio.Event()
        self._is_open.set()

    def pauseProducing(self) -> None:  # noqa: N802  (Twisted's name)
        self._is_open.clear()

    def resumeProducing(self) -> None:  # noqa: N802
        self._is_open.set()

    stopProducing = resumeProducing  # noqa: N815

    async def passed(self) -> None:
        await self._is_open.wait()


class BoundedRequest(WebRequest):
    """Keeps no more of a body than may be; the rest is read and dropped, so that the client hears the answer."""

    received = 0
    valve: Valve | None = None

    def handleContentChunk(self, data: bytes) -> None:  # noqa: N802
        self.received += len(data)
        if self.received <= LONGEST_BODY:
            super().handleContentChunk(data)

    def process(self) -> Any:
        return super().process() if self.received <= LONGEST_BODY else self.refuse()

    def refuse(self) -> None:
        answer = problems.problem(413, f"At most {LONGEST_BODY} bytes.")
        headers = [
            (b"Content-Type", problems.MEDIA_TYPE.encode()),
            (b"Content-Length", b"%d" % len(answer.content)),
        ]
        self.client_addr = None
        self.handle_reply({"type": "http.response.start", "status": 413, "headers": headers})
        self.handle_reply({"type": "http.response.body", "body": answer.content})

    def handle_reply(self, message: dict[str, Any]) -> None:
        if message["type"] == "http.response.body" and message.get("more_body") and self.valve is None:
            self.valve = Valve()
            self.registerProducer(self.valve, True)
        super().handle_reply(message)

    def finish(self) -> None:
        self.open_valve()
        super().finish()

    def connectionLost(self, reason: Any) -> None:  # noqa: N802
        self.open_valve()
        super().connectionLost(reason)

    def open_valve(self) -> None:
        """Whoever waits goes on; nothing will close it again."""
        if self.valve is not None and self.producer is not None:
            self.unregisterProducer()
            self.valve.resumeProducing()


class BoundedFactory(HTTPFactory):
    def buildProtocol(self, address: Any) -> Any:  # noqa: N802
        protocol = super().buildProtocol(address)
        protocol.requestFactory = BoundedRequest
        return protocol

    def log(self, request: Any) -> None:
        """Twisted would put together a line of its own for each request, and nobody reads it: ours is better."""


class BoundedWebSocket(WebSocketProtocol):
    factory: Any
    transport: Any
    maxMessagePayloadSize: int  # noqa: N815
    valve: Valve | None = None

    def onOpen(self) -> None:  # noqa: N802
        self.valve = Valve()
        self.transport.unregisterProducer()  # the HTTP channel, which has nothing more to say
        self.transport.registerProducer(self.valve, True)
        super().onOpen()

    def serverSend(self, content: Any, binary: bool = False) -> None:  # noqa: N802
        """A long text, such as the feed's for two hundred watchers, is encoded and framed once for all of them."""
        if binary or len(content) < WORTH_SHARING or self.state != self.STATE_OPEN:
            super().serverSend(content, binary)
        else:
            self.sendPreparedMessage(self.factory.framed(content))

    def sendMessage(self, payload: bytes, *args: Any, **options: Any) -> None:  # noqa: N802
        """Autobahn holds what goes out to the limit for what comes in, too."""
        limit, self.maxMessagePayloadSize = self.maxMessagePayloadSize, 0
        try:
            super().sendMessage(payload, *args, **options)
        finally:
            self.maxMessagePayloadSize = limit

    def serverClose(self, code: int | None = None) -> None:  # noqa: N802
        """Autobahn lets an application say 1000 and 3000 to 4999 only; RFC 6455 has more for it."""
        if code not in SERVER_CODES:
            super().serverClose(code)
        elif self.state == self.STATE_OPEN:
            self.sendCloseFrame(code=code)
        elif self.state == self.STATE_CONNECTING:
            self.serverReject()

    def _closeConnection(self, abort: bool = False) -> None:  # noqa: N802
        self.open_valve()
        super()._closeConnection(abort)

    def onClose(self, *how: Any) -> None:  # noqa: N802
        self.open_valve()
        super().onClose(*how)

    def open_valve(self) -> None:
        """A connection that still has a producer would wait for it instead of closing."""
        if self.valve is not None:
            self.transport.unregisterProducer()
            self.valve.resumeProducing()


class BoundedWebSocketFactory(WebSocketFactory):
    protocol = BoundedWebSocket
    _framed: tuple[str, Any] = ("", None)

    def framed(self, text: str) -> Any:
        """As it goes to any of them; made anew only when it is another text than last time."""
        if self._framed[0] is not text:
            self._framed = (text, self.prepareMessage(text.encode()))
        return self._framed[1]


class WebServer(Server):
    """Serves `application` on one address until SIGTERM or SIGINT. `failure` says why it could not."""

    def __init__(
        self, application: Callable[..., Awaitable[None]], host: str, port: int, on_listening: Callable[[], None]
    ) -> None:
        endpoints = build_endpoint_description_strings(host=host, port=port)
        super().__init__(application, endpoints=endpoints, server_name="")
        self.on_listening = on_listening
        self.failure = ""
        self.ports: list[Any] = []
        self.connections: dict[Any, dict[str, Any]] = {}

    def run(self) -> None:
        self.http_factory = BoundedFactory(self)
        self.ws_factory = BoundedWebSocketFactory(self, server="")
        self.ws_factory.setProtocolOptions(
            autoPingTimeout=self.ping_timeout,
            openHandshakeTimeout=self.websocket_handshake_timeout,
            maxFramePayloadSize=LONGEST_MESSAGE,
            maxMessagePayloadSize=LONGEST_MESSAGE,
        )
        globalLogBeginner.beginLoggingTo([], redirectStandardIO=False, discardBuffer=True)
        reactor.callLater(1, self.application_checker)
        reactor.callLater(2, self.timeout_checker)
        asyncio.set_event_loop(reactor._asyncioEventloop)
        for description in self.endpoints:
            listening = serverFromString(reactor, description).listen(self.http_factory)
            listening.addCallbacks(self.listen_success, self.listen_error)
        reactor.addSystemEventTrigger("before", "shutdown", self.kill_all_applications)
        if not self.abort_start:
            self.on_listening()
            reactor.run(installSignalHandlers=True)

    def listen_success(self, port: Any) -> None:
        self.ports.append(port)
        super().listen_success(port)

    def listen_error(self, failure: Any) -> None:
        self.failure = failure.getErrorMessage()
        self.stop()

    def create_application(self, protocol: Any, scope: dict[str, Any]) -> Any:
        """In a context of its own: a pipelined request is taken up while the one before still ends."""
        return contextvars.Context().run(super().create_application, protocol, scope)

    async def handle_reply(self, protocol: Any, message: dict[str, Any]) -> None:
        await super().handle_reply(protocol, message)
        if protocol.valve is not None:
            await asyncio.sleep(0)  # one who always has more to say lets the others have their turn
            await protocol.valve.passed()

    # --- Stopping ---

    def kill_all_applications(self) -> Deferred[None]:
        """Twisted waits for this before it ends the connections that are left."""
        return Deferred.fromFuture(asyncio.ensure_future(self.drain()))

    async def drain(self) -> None:
        try:
            await self.say_goodbye()
        except Exception:  # Twisted would only go on, without a word
            log.exception("web.not_stopped_in_order")

    async def say_goodbye(self) -> None:
        """No new connections; websockets are told; requests may finish, those that stream may not."""
        for port in self.ports:
            port.stopListening()
        for protocol in list(self.connections):
            if isinstance(protocol, BoundedWebSocket):
                protocol.serverClose(code=GOING_AWAY)
            elif protocol.valve is not None:
                self.cancel(protocol)
        await self.finished(STOP_SECONDS)
        for protocol in list(self.connections):
            self.cancel(protocol)
        await self.finished(CANCEL_SECONDS)

    def cancel(self, protocol: Any) -> None:
        if work := self.connections[protocol].get("application_instance"):
            work.cancel()

    async def finished(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        work = [found for details in self.connections.values() if (found := details.get("application_instance"))]
        if work:
            await asyncio.wait(work, timeout=until - time.monotonic())
