"""Errors captured from log lines and requests."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import structlog
from django.http import HttpRequest, HttpResponse
from django.test import AsyncClient, Client
from django.urls import path
from structlog.contextvars import bound_contextvars

from core.errors import error_buffer as process_buffer
from core.errors.occurrence import Occurrence
from core.tests.errors.factories import catch, fail


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], list[Occurrence]]]:
    """Opens the buffer of this process and returns what it records."""
    monkeypatch.setattr(process_buffer, "process", "web")
    yield lambda: list(process_buffer._pending.values())
    process_buffer._pending.clear()


def test_errors_logged_with_their_exception_are_recorded(recorded: Any) -> None:
    for log in (structlog.get_logger("x"), logging.getLogger("x")):
        try:
            fail()
        except ValueError as error:
            log.exception("failed")
            log.error("failed", exc_info=error)
            log.warning("warning only", exc_info=True)
        log.error("no exception")
    assert [group.count for group in recorded()] == [4]


def test_the_log_context_is_the_place_of_an_error(recorded: Any) -> None:
    log = structlog.get_logger("x")
    with bound_contextvars(service="collector"):
        log.error("failed", exc_info=catch(fail))
    assert recorded()[0].place == "service collector"
    log.error("failed", exc_info=catch(fail), program="web")
    assert recorded()[0].place == "program web"


@pytest.mark.django_db
def test_requests_that_django_refuses_are_not_recorded(recorded: Any) -> None:
    """Anyone can send an unknown host name."""
    assert Client().get("/", headers={"host": "elsewhere.example"}).status_code == 400
    assert recorded() == []


def broken_page(request: HttpRequest, number: int) -> HttpResponse:
    fail(number)
    return HttpResponse()


urlpatterns = [path("broken/<int:number>/", broken_page)]


@pytest.mark.urls(__name__)
@pytest.mark.django_db
def test_a_failing_page_is_recorded_with_its_route(recorded: Any) -> None:
    client = Client(raise_request_exception=False)
    answers = [client.get(f"/broken/{number}/") for number in (1, 2, 3)]
    assert {answer.status_code for answer in answers} == {500}
    [group] = recorded()
    assert (group.count, group.kind, group.place) == (3, "ValueError", "GET broken/<int:number>/")
    assert group.culprit == "core.tests.errors.factories.fail"


@pytest.mark.urls(__name__)
@pytest.mark.django_db(transaction=True)
async def test_a_failing_page_under_asgi_is_recorded_with_its_route(recorded: Any) -> None:
    answer = await AsyncClient(raise_request_exception=False).get("/broken/1/")
    assert answer.status_code == 500
    assert [(group.count, group.place) for group in recorded()] == [(1, "GET broken/<int:number>/")]
