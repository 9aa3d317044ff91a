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
from django.conf import settings
from django.core.exceptions import RequestAborted
from django.core.handlers.asgi import ASGIHandler, get_script_prefix
from django.core.handlers.base import BaseHandler
from django.core.signals import request_started
from django.urls import Resolver404, re_path, resolve, set_script_prefix

THREADS = 4
# A response that is in memory anyway goes out in one piece: each piece is a turn of the event loop.
CHUNK_BYTES = 4 * 1024 * 1024
NOT_FOUND = 4404


class RequestThreads:
    """Runs each request in one of a few threads that stay, with their database connections.

    Django starts a thread for every request and ends it with its connection: half a millisecond each. A request
    that finds no free thread gets a temporary one, as it would from Django.
    """

    def __init__(self, application: Callable[..., Awaitable[None]], count: int = THREADS) -> None:
        self._application = application
        self._free = [ThreadPoolExecutor(1, thread_name_prefix=f"request-{number}") for number in range(count)]

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        if not self._free:
            async with ThreadSensitiveContext():
                await self._application(scope, receive, send)
            return
        thread = self._free.pop()
        try:
            async with ThreadSensitiveContext(executor=thread):
                await self._application(scope, receive, send)
        finally:
            # Not before it is idle: the view of a client that disconnected may still run in it.
            thread.submit(_nothing).add_done_callback(lambda idle: self._free.append(thread))


def _nothing() -> None:
    pass


class AsyncHandler(ASGIHandler):
    """Django's own, for views that await and for static files."""

    chunk_size = CHUNK_BYTES


class SyncHandler(AsyncHandler):
    """For synchronous views: runs everything between a request and its response in one visit to a thread.

    Django visits the thread three times, for two signals and the view, makes two tasks for each request, and runs
    the middleware in the event loop.
    """

    def __init__(self) -> None:
        BaseHandler.__init__(self)
        self.load_middleware()

    async def handle(self, scope: Any, receive: Any, send: Any) -> None:
        try:
            body = await self.read_body(receive)
        except RequestAborted:
            return
        response = await sync_to_async(self.respond)(scope, body)
        await self.send_response(response, send)
        if response.streaming:
            await sync_to_async(response.close)()

    def respond(self, scope: Any, body: IO[bytes]) -> Any:
        """The caller closes a streaming response; any other is closed already."""
        with body:
            set_script_prefix(get_script_prefix(scope))
            request_started.send(sender=type(self), scope=scope)
            request, refusal = self.create_request(scope, body)
            response: Any = refusal if request is None else self.get_response(request)
        response._handler_class = type(self)  # the sender of `request_finished`
        if not response.streaming:
            response.close()
        return response


class HandlerByView:
    def __init__(self) -> None:
        self._sync, self._async = SyncHandler(), AsyncHandler()

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        handler = self._sync if is_synchronous(scope["path"]) else self._async
        await handler.handle(scope, receive, send)


@lru_cache(maxsize=256)
def is_synchronous(path: str) -> bool:
    """Whether the view at this path is synchronous, or there is none."""
    if path.startswith(settings.STATIC_URL):
        return False
    try:
        return not iscoroutinefunction(resolve(path).func)
    except Resolver404:
        return True


django.setup(set_prefix=False)  # the next import needs the apps

from metrics.consumers import routes as routes_of_metrics  # noqa: E402
from programs.consumers import routes as routes_of_programs  # noqa: E402


async def refuse_websocket(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Anyone can ask for an unknown path, so it is no error of the application (URLRouter would raise)."""
    await receive()
    await send({"type": "websocket.close", "code": NOT_FOUND})


unknown: Any = refuse_websocket
websockets = URLRouter([*routes_of_programs, *routes_of_metrics, re_path(r"", unknown)])
application = ProtocolTypeRouter({"http": RequestThreads(HandlerByView()), "websocket": websockets})
