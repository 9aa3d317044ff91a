from __future__ import annotations

import threading
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth import aauthenticate, authenticate
from django.contrib.auth.models import User
from django.db import connections
from django.db.models import F
from django.test import Client, RequestFactory
from django.utils import timezone

from core.access.login import MAX_FAILURES, WINDOW, _count_attempt, throttle_key
from core.models import AuditEntry, LoginThrottle

from .conftest import PASSWORD

LOGIN = "/admin/login/"


@pytest.fixture(autouse=True)
def quick_hashes(settings: Any) -> None:
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


@pytest.fixture
def alice(db: None) -> User:
    return User.objects.create_user("alice", password=PASSWORD, is_staff=True)


def attempt(username: str, password: str, address: str = "192.0.2.1", **headers: Any) -> User | None:
    request = RequestFactory().post(LOGIN, REMOTE_ADDR=address, **headers)
    user = authenticate(request, username=username, password=password)
    return user if isinstance(user, User) else None


def fail(times: int, username: str = "alice", address: str = "192.0.2.1") -> None:
    for _ in range(times):
        assert attempt(username, "wrong", address) is None


def trail() -> list[tuple[str, str]]:
    return list(AuditEntry.objects.filter(action="login").order_by("id").values_list("outcome", "target"))


def test_five_failures_lock_the_user_name(alice: User) -> None:
    fail(MAX_FAILURES - 1)
    assert attempt("alice", PASSWORD)
    fail(MAX_FAILURES)
    assert attempt("alice", PASSWORD) is None


def test_the_lockout_ends_in_time_despite_further_attempts(alice: User) -> None:
    fail(MAX_FAILURES + 20)
    assert attempt("alice", PASSWORD) is None
    LoginThrottle.objects.update(since=F("since") - WINDOW)
    assert attempt("alice", PASSWORD)


def test_a_successful_login_resets_the_failures(alice: User) -> None:
    fail(MAX_FAILURES - 1)
    assert attempt("alice", PASSWORD)
    assert not LoginThrottle.objects.exists()


def test_other_names_and_addresses_are_not_locked_out(alice: User) -> None:
    User.objects.create_user("bob", password=PASSWORD)
    fail(MAX_FAILURES, "alice", "192.0.2.1")
    assert attempt("alice", PASSWORD, "192.0.2.2")
    assert attempt("bob", PASSWORD, "192.0.2.1")


def test_a_forwarded_address_is_ignored(alice: User) -> None:
    for n in range(MAX_FAILURES):
        attempt("alice", "wrong", HTTP_X_FORWARDED_FOR=f"203.0.113.{n}")
    assert attempt("alice", PASSWORD, HTTP_X_FORWARDED_FOR="203.0.113.99") is None


def test_addresses_in_one_ipv6_network_count_together(alice: User) -> None:
    for n in range(MAX_FAILURES):
        attempt("alice", "wrong", f"2001:db8::{n}")
    assert attempt("alice", PASSWORD, "2001:db8::ffff") is None
    assert attempt("alice", PASSWORD, "2001:db8:0:1::1")


def test_a_login_without_a_request_is_throttled(alice: User) -> None:
    for _ in range(MAX_FAILURES):
        authenticate(username="alice", password="wrong")
    assert authenticate(username="alice", password=PASSWORD) is None


@pytest.mark.django_db(transaction=True)
async def test_the_asynchronous_login_is_throttled() -> None:
    await User.objects.acreate_user("alice", password=PASSWORD)
    for _ in range(MAX_FAILURES):
        assert await aauthenticate(username="alice", password="wrong") is None
    assert await aauthenticate(username="alice", password=PASSWORD) is None
    outcomes = [outcome async for outcome in AuditEntry.objects.order_by("id").values_list("outcome", flat=True)]
    assert outcomes == ["failed"] * MAX_FAILURES + ["refused"]


def test_known_and_unknown_names_get_the_same_messages(alice: User) -> None:
    answers = {name: [login_page(name) for _ in range(MAX_FAILURES + 2)] for name in ("alice", "nobody")}
    assert answers["alice"] == answers["nobody"]
    assert "Too many failed attempts" in answers["alice"][-1]
    assert "Too many failed attempts" not in answers["alice"][0]


def login_page(username: str) -> str:
    response = Client().post(LOGIN, {"username": username, "password": "wrong"})
    assert response.status_code == 200
    return "".join(str(error) for error in response.context["form"].non_field_errors())


def test_the_audit_trail_contains_only_names_of_known_users(alice: User) -> None:
    """People sometimes type their password into the name field."""
    fail(1, "alice")
    fail(1, "my secret password")
    assert trail() == [("failed", "alice"), ("failed", "(unknown user)")]


def test_each_lockout_is_audited_once(alice: User) -> None:
    fail(MAX_FAILURES + 10)
    assert trail() == [("failed", "alice")] * MAX_FAILURES + [("refused", "alice")]


def test_login_and_logout_are_audited_with_the_address(alice: User) -> None:
    client = Client(REMOTE_ADDR="192.0.2.7")
    client.post(LOGIN, {"username": "alice", "password": PASSWORD})
    client.post("/admin/logout/")
    found = AuditEntry.objects.order_by("id").values_list("action", "actor", "address", "outcome")
    assert list(found) == [("login", "alice", "192.0.2.7", "done"), ("logout", "alice", "192.0.2.7", "done")]


def test_expired_throttle_rows_are_deleted(db: None) -> None:
    long_ago = timezone.now() - timedelta(hours=1)
    LoginThrottle.objects.create(key="old", since=long_ago)
    fail(1, "bob")
    assert not LoginThrottle.objects.filter(key="old").exists()


@pytest.mark.parametrize("name", ["", "x" * 10_000, "\x00", "\ud800", "ünï"])
def test_any_user_name_can_be_tried(db: None, name: str) -> None:
    assert len(throttle_key(name, None)) == 64


@pytest.mark.django_db(transaction=True)
def test_simultaneous_attempts_do_not_bypass_the_throttle() -> None:
    taken: list[bool] = []

    def take() -> None:
        taken.append(_count_attempt("k", timezone.now()))
        connections.close_all()

    threads = [threading.Thread(target=take) for _ in range(30)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(taken) == [False] * (30 - MAX_FAILURES) + [True] * MAX_FAILURES
