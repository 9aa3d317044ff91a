"""Lets `requests` accept a response from its status line on, as our own HTTP client does.

Otherwise a receiver that cuts its response off would get the message again. Only for the sending process.
"""

from __future__ import annotations

import contextlib
import http.client
import time
from typing import Any

BODY_SECONDS = 5.0
MAX_BODY = 64 * 1024


def accept_partial_responses() -> None:
    import requests.adapters

    parse_headers = http.client.parse_headers
    send = requests.adapters.HTTPAdapter.send

    def parse_leniently(stream: Any, *arguments: Any) -> Any:
        try:
            return parse_headers(stream, *arguments)
        except (http.client.HTTPException, OSError, ValueError):
            return http.client.HTTPMessage()

    def send_and_read(adapter: Any, request: Any, **options: Any) -> Any:
        response = send(adapter, request, **{**options, "stream": True})
        # As `Response.content` would do, which raises errors for a body that is cut off.
        content: Any = _read(response.raw)
        response._content, response._content_consumed = content, True
        response.close()
        return response

    http.client.parse_headers = parse_leniently  # type: ignore[assignment]  # arguments passed on
    requests.adapters.HTTPAdapter.send = send_and_read  # type: ignore[assignment]  # options by name


def _read(raw: Any) -> bytes:
    content, ends_at = b"", time.monotonic() + BODY_SECONDS
    # Any error of the body: it cannot change what the status says.
    with contextlib.suppress(Exception):
        while len(content) < MAX_BODY and time.monotonic() < ends_at and (chunk := raw.read1(MAX_BODY)):
            content += chunk
    return content
