"""The web process as an ASGI application: Django for HTTP, the consumers for websockets."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import IO, Any

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "monitor_site.settings")

import django
from asgiref.sync import ThreadSensitiveContext, iscoroutinefunction, sync_to_async
from channels.routing import ProtocolTypeRouter, URLRouter
from django.core.exceptions import RequestAborted
from django.core.handlers.asgi import ASGIHandler, get_script_prefix
from django.core.handlers.base import BaseHandler
from django.core.signals import request_started
from django.urls import Resolver404, re_path, resolve, set_script_prefix

KEPT_THREADS = 4
# An answer that is in memory anyway goes out in one piece: each piece is a turn of the event loop.
CHUNK_BYTES = 4 * 1024 * 1024
API = "/api/"


class KeptThreads:
    """Lends each request one of a few threads that stay, with their database connections.

    Django would start a thread for every request and end it with its connection: half a millisecond each. A
    request that finds none free gets a thread of its own, as it would from Django.
    """

    def __init__(self, application: Callable[..., Awaitable[None]], count: int = KEPT_THREADS) -> None:
        self._application = application
        self._free = [ThreadPoolExecutor(1, thread_name_prefix=f"request-{number}") for number in range(count)]

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        if not self._free:
            await self._in_a_thread_of_its_own(scope, receive, send)
            return
        thread = self._free.pop()
        try:
            async with ThreadSensitiveContext(executor=thread):
                await self._application(scope, receive, send)
        finally:
            # Not before it is idle: what a caller who hung up had asked for may still run in it.
            thread.submit(_nothing).add_done_callback(lambda idle: self._free.append(thread))

    async def _in_a_thread_of_its_own(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        """Entered like the others: daphne may start a request in the context of one that has left already."""
        thread = ThreadPoolExecutor(1, thread_name_prefix="request-extra")
        try:
            async with ThreadSensitiveContext(executor=thread):
                await self._application(scope, receive, send)
        finally:
            thread.shutdown(wait=False)


def _nothing() -> None:
    pass


class Handler(ASGIHandler):
    chunk_size = CHUNK_BYTES


class InOneGo(Handler):
    """For views that do not await: all between a request and its answer in one visit to a thread.

    Django's own way visits it three times, for two signals and the view, and makes two tasks for each request; the
    middleware in between runs on the event loop. An unknown address took 3.5 ms of its time so, now 1.4 ms.
    """

    def __init__(self) -> None:
        BaseHandler.__init__(self)
        self.load_middleware()

    async def handle(self, scope: Any, receive: Any, send: Any) -> None:
        try:
            body = await self.read_body(receive)
        except RequestAborted:
            return
        response = await sync_to_async(self.answer)(scope, body)
        await self.send_response(response, send)
        if response.streaming:
            await sync_to_async(response.close)()

    def answer(self, scope: Any, body: IO[bytes]) -> Any:
        """An answer that streams is still to be closed."""
        with body:
            set_script_prefix(get_script_prefix(scope))
            request_started.send(sender=type(self), scope=scope)
            request, refusal = self.create_request(scope, body)
            response: Any = refusal if request is None else self.get_response(request)
        response._handler_class = type(self)  # whom the signal of its end comes from
        if not response.streaming:
            response.close()
        return response


class ByView:
    """The API's views that do not await go in one go, everything else Django's way."""

    def __init__(self) -> None:
        self._in_one_go, self._awaiting = InOneGo(), Handler()

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        handler = self._in_one_go if is_synchronous(scope["path"]) else self._awaiting
        await handler.handle(scope, receive, send)


@lru_cache(maxsize=256)
def is_synchronous(path: str) -> bool:
    """Whether this is an address of the API with a view that does not await, or with none at all."""
    if not path.startswith(API):
        return False
    try:
        return not iscoroutinefunction(resolve(path).func)
    except Resolver404:
        return True


django.setup(set_prefix=False)  # the next import needs the apps

from metrics.consumers import routes as routes_of_metrics  # noqa: E402
from programs.consumers import routes as routes_of_programs  # noqa: E402


async def no_such_socket(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Refused before it opens, like a stranger: anybody can ask for an address, so it is no error of ours."""
    await receive()
    await send({"type": "websocket.close", "code": 4404})


nowhere: Any = no_such_socket
sockets = URLRouter([*routes_of_programs, *routes_of_metrics, re_path(r"", nowhere)])
application = ProtocolTypeRouter({"http": KeptThreads(ByView()), "websocket": sockets})
