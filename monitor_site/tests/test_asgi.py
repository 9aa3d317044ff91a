"""The application as a server sees it: which requests run in one thread, and that they lose nothing there."""

# The test tools of asgiref have no types.
# mypy: disallow-untyped-calls=False

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import orjson
import pytest
from asgiref.sync import async_to_sync
from asgiref.testing import ApplicationCommunicator
from django.core.signals import request_finished, request_started

from monitor_site.asgi import SyncHandler, application, is_synchronous

pytestmark = pytest.mark.django_db(transaction=True)


def scope(path: str, method: str = "GET") -> dict[str, Any]:
    return {
        "type": "http",
        "method": method,
        "path": path,
        "query_string": b"",
        "headers": [(b"host", b"localhost"), (b"content-type", b"application/json")],
    }


@async_to_sync
async def answer(path: str, method: str = "GET", body: bytes = b"") -> tuple[int, dict[bytes, bytes], bytes]:
    communicator = ApplicationCommunicator(application, scope(path, method))
    await communicator.send_input({"type": "http.request", "body": body})
    head = await communicator.receive_output(timeout=30)
    rest = await communicator.receive_output(timeout=30)
    await communicator.wait(timeout=30)
    return head["status"], dict(head["headers"]), rest["body"]


@contextmanager
def threads_of_signals() -> Iterator[list[tuple[str, str]]]:
    seen: list[tuple[str, str]] = []

    def started(**_: Any) -> None:
        seen.append(("started", threading.current_thread().name))

    def finished(**_: Any) -> None:
        seen.append(("finished", threading.current_thread().name))

    request_started.connect(started)
    request_finished.connect(finished)
    try:
        yield seen
    finally:
        request_started.disconnect(started)
        request_finished.disconnect(finished)


@pytest.mark.parametrize(
    "path", ["/api/status", "/api/metrics/1", "/api/no/such/path", "/admin/", "/", "/no/page"]
)
def test_synchronous_views_and_unknown_paths_run_in_one_thread(path: str) -> None:
    assert is_synchronous(path)


@pytest.mark.parametrize("path", ["/api/metrics/export", "/api/programs/1/logs", "/static/x.css"])
def test_views_that_await_and_static_files_run_in_the_event_loop(path: str) -> None:
    assert not is_synchronous(path)


def test_a_refusal_has_all_headers_of_the_middleware() -> None:
    status, headers, body = answer("/api/status")
    assert (status, orjson.loads(body)["status"]) == (401, 401)
    assert headers[b"Content-Type"] == b"application/problem+json"
    assert {b"Content-Security-Policy", b"X-Content-Type-Options", b"X-Request-ID"} <= headers.keys()


def test_a_page_is_served_from_the_thread() -> None:
    with threads_of_signals() as seen:
        status, headers, body = answer("/admin/login/")
    assert (status, b"csrfmiddlewaretoken" in body) == (200, True)
    assert b"csrftoken" in headers[b"Set-Cookie"]
    assert len({thread for _, thread in seen}) == 1


def test_an_unknown_address_is_a_problem_document() -> None:
    status, _, body = answer("/api/no/such/address")
    assert (status, orjson.loads(body)["title"]) == (404, "Not Found")


def test_a_body_arrives() -> None:
    status, _, body = answer("/api/programs", "POST", b'{"name": "x", "command": "true"}')
    assert (status, orjson.loads(body)["title"]) == (401, "Unauthorized")


def test_the_signals_of_a_request_are_sent_in_the_thread_of_its_view() -> None:
    with threads_of_signals() as seen:
        answer("/api/status")
    assert [name for name, _ in seen] == ["started", "finished"]
    assert len({thread for _, thread in seen}) == 1
    assert seen[0][1] != threading.main_thread().name


def test_a_view_that_raises_is_answered_with_500(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> None:
        raise RuntimeError("broken")

    monkeypatch.setattr("programs.status.read_host_state", broken)
    monkeypatch.setattr("core.rest.auth.Session.authenticate", lambda *_: True)
    status, _, body = answer("/api/status")
    assert (status, orjson.loads(body)["title"]) == (500, "Internal Server Error")


def test_static_files_are_not_served_from_the_thread() -> None:
    names = [type(getattr(middleware, "__wrapped__", middleware)).__name__ for middleware in chain(SyncHandler())]
    assert "StaticFilesMiddleware" not in names
    assert "RequestLogMiddleware" in names


def chain(handler: Any) -> Iterator[Any]:
    found = handler._middleware_chain
    while found is not None:
        found = getattr(found, "__wrapped__", found)
        yield found
        found = getattr(found, "get_response", None)
