"""The process that hands one message to Apprise: JSON on standard input, JSON on standard output, then the end.

In:  {"policy": {…}, "url", "title", "body", "type", "seconds", "only_check"}
Out: {"outcome": "sent" | "failed" | "refused" | "unusable", "text", "peer"}
"""

from __future__ import annotations

import json
import os
import signal
import sys
from typing import Any

from core.http import Policy

from .guard import Guard
from .schemas import SCHEMAS

MEMORY_BYTES = 512 * 1024 * 1024
LONGEST_TEXT = 4096
CONNECT_SECONDS, READ_SECONDS = 5.0, 10.0


def main() -> None:
    order = json.load(sys.stdin)
    _limit(order["seconds"])
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever a library prints is no answer
    try:
        answer = _deliver(order)
    except Exception as error:  # whatever a library raises ends here, as a try that came to nothing
        answer = {"outcome": "failed", "text": f"{type(error).__name__}: {error}"}
    with answers:
        json.dump({**answer, "text": str(answer.get("text", ""))[:LONGEST_TEXT]}, answers)


def _limit(seconds: int) -> None:
    """Should the sender be killed, nobody is left to end this process: it does so itself."""
    if os.name != "posix":
        return
    import resource

    signal.alarm(seconds)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _deliver(order: dict[str, Any]) -> dict[str, Any]:
    import apprise
    import requests

    apprise.Apprise().details()  # loads all services while files may still be read
    # A second net under `redirects`, and the only seam there is: no session that a service makes follows one.
    requests.Session.get_redirect_target = _no_redirect  # type: ignore[method-assign]
    guard = Guard(_policy(order["policy"]))
    guard.install()
    capture: Any = apprise.LogCapture
    with capture(level=apprise.logging.WARNING, fmt="%(message)s") as log:
        service = _service(order["url"])
        if service is None:
            return {"outcome": "unusable", "text": log.getvalue()}
        if order["only_check"]:
            return {"outcome": "sent", "text": ""}
        is_sent = _notify(service, order)
        return _answer(is_sent, guard, log.getvalue())


def _policy(given: dict[str, Any]) -> Policy:
    return Policy(given["network"], frozenset(given["own_ports"]), frozenset(given["service_ports"]))


def _no_redirect(self: Any, resp: Any) -> None:
    return None


def _service(url: str) -> Any:
    """The service of the URL, with our bounds whatever the URL says of them. None when it makes no sense."""
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


def _notify(service: Any, order: dict[str, Any]) -> bool:
    import apprise

    sender = apprise.Apprise(asset=service.asset)
    sender.add(service)
    return bool(
        sender.notify(
            title=order["title"],
            body=order["body"],
            notify_type=order["type"],
            body_format=apprise.NotifyFormat.TEXT,
            interpret_escapes=False,
        )
    )


def _answer(is_sent: bool, guard: Guard, said: str) -> dict[str, Any]:
    if is_sent:
        return {"outcome": "sent", "text": said, "peer": guard.peer}
    if guard.refusals:
        return {"outcome": "refused", "text": guard.refusals[0]}
    return {"outcome": "failed", "text": said or "The service did not take it.", "peer": guard.peer}


if __name__ == "__main__":
    main()
