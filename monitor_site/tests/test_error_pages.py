from __future__ import annotations

import json
from typing import Any

import pytest
from django.db import IntegrityError, OperationalError
from django.test import Client

from core.access import Role
from programs.tests.api_rig import PROBLEM, Api, person


@pytest.fixture
def browser() -> Client:
    return Client(raise_request_exception=False)


def text_of(answer: Any, status: int) -> str:
    assert (answer.status_code, answer["Content-Type"]) == (status, "text/html; charset=utf-8")
    text: str = answer.content.decode()
    assert "monitor/icon.svg" in text
    assert answer["X-Request-ID"] in text
    return text


def breaks(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr("programs.status.read_host_state", broken)
    monkeypatch.setattr("django.contrib.auth.views.LoginView.get_context_data", broken)


def test_an_unknown_address_shows_the_404_page(browser: Client) -> None:
    assert "Page not found" in text_of(browser.get("/nothing/here"), 404)


def test_an_unknown_host_name_mentions_allowed_hosts(browser: Client) -> None:
    assert "ALLOWED_HOSTS" in text_of(browser.get("/admin/login/", headers={"host": "evil.example"}), 400)


@pytest.mark.django_db
def test_a_forbidden_page_names_the_role(browser: Client) -> None:
    browser.force_login(person(Role.READ))
    assert "Your role does not allow this" in text_of(browser.get("/admin/programs/program/add/"), 403)


@pytest.mark.django_db
def test_a_form_without_csrf_token_mentions_trusted_origins() -> None:
    answer = Client(enforce_csrf_checks=True).post("/admin/login/", {"username": "a"})
    assert "CSRF_TRUSTED_ORIGINS" in text_of(answer, 403)


@pytest.mark.django_db
def test_a_database_outage_shows_the_503_page(browser: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    breaks(monkeypatch, OperationalError("database or disk is full"))
    answer = browser.get("/admin/login/")
    assert "busy, full or not reachable" in text_of(answer, 503)
    assert answer["Retry-After"] == "5"
    assert "disk is full" not in answer.content.decode()


@pytest.mark.django_db
def test_any_other_error_shows_the_500_page(browser: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    breaks(monkeypatch, IntegrityError("twice"))
    text_of(browser.get("/admin/login/"), 500)


@pytest.mark.django_db
def test_the_api_responds_with_503_and_retry_after_during_an_outage(monkeypatch: pytest.MonkeyPatch) -> None:
    api = Api()
    breaks(monkeypatch, OperationalError("database is locked"))
    answer = api.send("GET", "/status")
    assert (answer.status_code, answer["Content-Type"], answer["Retry-After"]) == (503, PROBLEM, "5")
    assert "busy, full or not reachable" in json.loads(answer.content)["detail"]


@pytest.mark.django_db
def test_an_unreadable_session_is_a_503_problem(browser: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> None:
        raise OperationalError("database is locked")

    browser.cookies["sessionid"] = "x" * 32
    monkeypatch.setattr("django.contrib.sessions.backends.db.SessionStore._get_session_from_db", broken)
    answer = browser.get("/api/status")
    assert (answer.status_code, answer["Content-Type"], answer["Retry-After"]) == (503, PROBLEM, "5")
