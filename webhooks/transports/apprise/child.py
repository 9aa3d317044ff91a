"""The process that sends one message with Apprise: JSON on standard input, JSON on standard output.

In:  {"policy": {…}, "url", "title", "head", "lines": […], "tail", "type", "seconds", "only_check"}
Out: {"outcome": "sent" | "failed" | "refused" | "unusable", "text", "peer"}
"""

from __future__ import annotations

import json
import os
import signal
import sys
from typing import Any

from core.http import Policy
from webhooks.transports.text import cut, length

from .guard import SCHEMAS, Guard
from .responses import accept_partial_responses

MEMORY_BYTES = 512 * 1024 * 1024
MAX_TEXT = 4096
CONNECT_SECONDS, READ_SECONDS = 5.0, 10.0
BLENDED_TITLE = (
    20  # at most what Apprise puts around a title that becomes part of the body, such as `<b></b><br />`
)


def main() -> None:
    job = json.load(sys.stdin)
    _limit_resources(job["seconds"])
    output = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # libraries may print to standard output
    try:
        result = _deliver(job)
    except Exception as error:  # of any library: a failed attempt
        result = {"outcome": "failed", "text": f"{type(error).__name__}: {error}"}
    with output:
        json.dump({**result, "text": str(result.get("text", ""))[:MAX_TEXT]}, output)


def _limit_resources(seconds: int) -> None:
    if os.name != "posix":
        return
    import resource

    signal.alarm(seconds)  # ends this process even if the worker that started it was killed
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _deliver(job: dict[str, Any]) -> dict[str, Any]:
    import apprise
    import requests

    apprise.Apprise().details()  # loads all services before the guard forbids reading files
    # In addition to `redirects` below: no session of any service follows redirects.
    requests.Session.get_redirect_target = _no_redirect  # type: ignore[method-assign]
    accept_partial_responses()
    guard = Guard(_policy(job["policy"]))
    guard.install()
    capture: Any = apprise.LogCapture
    with capture(level=apprise.logging.WARNING, fmt="%(message)s") as log:
        service = _service(job["url"])
        if service is None:
            return {"outcome": "unusable", "text": log.getvalue()}
        if job["only_check"]:
            return {"outcome": "sent", "text": ""}
        is_sent = _notify(service, job)
        return _result(is_sent, guard, log.getvalue())


def _policy(given: dict[str, Any]) -> Policy:
    return Policy(given["network"], frozenset(given["own_ports"]), frozenset(given["service_ports"]))


def _no_redirect(self: Any, resp: Any) -> None:
    return None


def _service(url: str) -> Any:
    """None for an invalid URL. Our limits override those in the URL."""
    import apprise

    if url.partition("://")[0].lower() not in SCHEMAS:
        return None
    asset = apprise.AppriseAsset(
        storage_mode="memory", http_redirects=False, service_timeout=READ_SECONDS + CONNECT_SECONDS
    )
    service = apprise.Apprise.instantiate(url, asset=asset)
    if service is not None:
        service.redirects, service.verify_certificate = False, True
        service.socket_connect_timeout, service.socket_read_timeout = CONNECT_SECONDS, READ_SECONDS
    return service


def _notify(service: Any, job: dict[str, Any]) -> bool:
    import apprise

    sender = apprise.Apprise(asset=service.asset)
    sender.add(service)
    title, body = fitted(service, job)
    return bool(
        sender.notify(
            title=title,
            body=body,
            notify_type=job["type"],
            body_format=apprise.NotifyFormat.TEXT,
            interpret_escapes=False,
        )
    )


def fitted(service: Any, job: dict[str, Any]) -> tuple[str, str]:
    """Title and body within the limits of the service: without the oldest lines, then cut at the end."""
    title, lines = job["title"], job["lines"]
    room = service.body_maxlen
    if service.title_maxlen > 0:
        title = cut(title, service.title_maxlen)
    for start in range(len(lines) + 1):
        body = _joined(job["head"], lines[start:], job["tail"]) or title
        if _size(service, title, body) <= room:
            return title, body
    if service.title_maxlen <= 0:
        return "", _cut_to_size(service, "", f"{title}\n{job['head']}", job["tail"])
    return title, _cut_to_size(service, title, job["head"] or title, job["tail"])


def _joined(head: str, lines: list[str], tail: str) -> str:
    return "\n\n".join(filter(None, (head, "\n".join(lines), tail)))


def _cut_to_size(service: Any, title: str, head: str, tail: str) -> str:
    """The longest beginning of `head` that fits, with `tail` (the link) if half of the room is left for `head`."""
    room = service.body_maxlen
    end = f"\n\n{tail}" if tail and _size(service, title, f"\n\n{tail}") <= room / 2 else ""
    low, high = 0, len(head)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if _size(service, title, cut(head, middle) + end) <= room else (low, middle - 1)
    return (cut(head, low) + end).strip()


def _size(service: Any, title: str, body: str) -> int:
    """What the service will count: after conversion to its format, with the title if it has none of its own."""
    from apprise.conversion import convert_between

    target = service.resolve_format("text")
    convert: Any = convert_between  # has no type hints
    texts = [service.dialect_convert(convert("text", target, text), target) for text in (title, body)]
    if service.title_maxlen <= 0:
        return sum(map(length, texts)) + (BLENDED_TITLE if title else 0)
    return length(texts[1]) + (length(title) if service.overflow_amalgamate_title else 0)


def _result(is_sent: bool, guard: Guard, log: str) -> dict[str, Any]:
    if is_sent:
        return {"outcome": "sent", "text": log, "peer": guard.peer}
    if guard.refusals:
        return {"outcome": "refused", "text": guard.refusals[0]}
    return {"outcome": "failed", "text": log or "The service rejected the message.", "peer": guard.peer}


if __name__ == "__main__":
    main()
