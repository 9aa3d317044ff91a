"""The web process as an ASGI application: Django for HTTP, the consumers for websockets."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "monitor_site.settings")

import django
from asgiref.sync import ThreadSensitiveContext
from channels.routing import ProtocolTypeRouter, URLRouter
from django.core.handlers.asgi import ASGIHandler

KEPT_THREADS = 4
# An answer that is in memory anyway goes out in one piece: each piece is a turn of the event loop.
CHUNK_BYTES = 4 * 1024 * 1024


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


django.setup(set_prefix=False)  # the next import needs the apps

from metrics.consumers import routes as metrics_routes  # noqa: E402
from programs.consumers import routes as programs_routes  # noqa: E402

sockets = URLRouter([*programs_routes, *metrics_routes])
application = ProtocolTypeRouter({"http": KeptThreads(Handler()), "websocket": sockets})
