"""A script: the web server with an application that sends endlessly and reports how much it sent."""

from __future__ import annotations

import sys
from typing import Any

import django

django.setup()

from monitor_site.web_server import WebServer  # noqa: E402

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
    WebServer(application, "127.0.0.1", int(sys.argv[1]), on_listening=lambda: None).run()
