"""Where errors come from: log lines and pages."""

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

from core.errors import ledger as of_this_process
from core.errors.occurrence import Occurrence
from core.tests.errors.rig import caught, refuse


@pytest.fixture
def noted(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], list[Occurrence]]]:
    """What this process noted since; it begins to keep account."""
    monkeypatch.setattr(of_this_process, "process", "web")
    yield lambda: list(of_this_process._waiting.values())
    of_this_process._waiting.clear()


def test_what_is_logged_with_its_exception_is_noted_whoever_logs_it(noted: Any) -> None:
    for log in (structlog.get_logger("x"), logging.getLogger("x")):
        try:
            refuse()
        except ValueError as error:
            log.exception("failed")
            log.error("failed", exc_info=error)
            log.warning("told only", exc_info=True)
        log.error("no exception")
    assert [group.count for group in noted()] == [4]


def test_what_an_error_was_about_is_its_place(noted: Any) -> None:
    log = structlog.get_logger("x")
    with bound_contextvars(service="collector"):
        log.error("failed", exc_info=caught(refuse))
    assert noted()[0].place == "service collector"
    log.error("failed", exc_info=caught(refuse), program="web")
    assert noted()[0].place == "program web"


@pytest.mark.django_db
def test_what_django_refuses_is_no_error_of_ours(noted: Any) -> None:
    """Anybody can send a name that is not known here."""
    assert Client().get("/", headers={"host": "elsewhere.example"}).status_code == 400
    assert noted() == []


def broken_page(request: HttpRequest, number: int) -> HttpResponse:
    refuse(number)
    return HttpResponse()


urlpatterns = [path("broken/<int:number>/", broken_page)]


@pytest.mark.urls(__name__)
@pytest.mark.django_db
def test_a_page_that_raises_is_noted_under_its_route(noted: Any) -> None:
    client = Client(raise_request_exception=False)
    answers = [client.get(f"/broken/{number}/") for number in (1, 2, 3)]
    assert {answer.status_code for answer in answers} == {500}
    [group] = noted()
    assert (group.count, group.kind, group.place) == (3, "ValueError", "GET broken/<int:number>/")
    assert group.culprit == "core.tests.errors.rig.refuse"


@pytest.mark.urls(__name__)
@pytest.mark.django_db(transaction=True)
async def test_so_it_is_under_asgi(noted: Any) -> None:
    answer = await AsyncClient(raise_request_exception=False).get("/broken/1/")
    assert answer.status_code == 500
    assert [(group.count, group.place) for group in noted()] == [(1, "GET broken/<int:number>/")]
