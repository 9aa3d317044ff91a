"""Run by a test: a web server with short timeouts and an application that never stops sending and counts."""

from __future__ import annotations

import sys
from typing import Any

import django

django.setup()

from monitor_site import web_server  # noqa: E402

CHUNK = b"x" * 65536
sent = {"/endless": 0, "/ws": 0}


async def application(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.accept"})
        while True:
            await send({"type": "websocket.send", "bytes": CHUNK})
            sent["/ws"] += 1
    elif scope["path"] == "/endless":
        await send({"type": "http.response.start", "status": 200, "headers": []})
        while True:
            await send({"type": "http.response.body", "body": CHUNK, "more_body": True})
            sent["/endless"] += 1
    else:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"%d %d" % (sent["/endless"], sent["/ws"])})


if __name__ == "__main__":
    web_server.HEAD_SECONDS = web_server.BODY_SECONDS = 1.0
    web_server.WebServer(application, "127.0.0.1", int(sys.argv[1]), on_listening=lambda: None).run()
