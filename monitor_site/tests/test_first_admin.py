from __future__ import annotations

import json
import stat
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.contrib.auth.models import User
from django.core.management import call_command
from django.db import connection
from django.test import Client
from django.utils import timezone

from core.models import AuditEntry
from monitor_site import first_admin

pytestmark = pytest.mark.django_db
GOOD = {"username": "ada", "password1": "correct horse battery", "password2": "correct horse battery"}


@pytest.fixture(autouse=True)
def no_link_yet(tmp_path: Path, settings: Any) -> None:
    settings.RUN_DIR = tmp_path


@pytest.fixture
def link() -> str:
    return f"/setup/{first_admin.create_link(timezone.now())}/"


def variables(name: str = "ada", password: str = "correct horse battery", email: str = "") -> dict[str, str]:
    values = {"USERNAME": name, "PASSWORD": password, "EMAIL": email}
    return {f"DJANGO_SUPERUSER_{key}": value for key, value in values.items()}


# --- From the environment -------------------------------------------------------------------------------


def test_the_environment_creates_an_administrator() -> None:
    assert first_admin.create_from_environment(variables(email="ada@example.com")) == []
    user = User.objects.get()
    assert (user.username, user.email, user.is_superuser, user.is_staff) == ("ada", "ada@example.com", True, True)
    assert user.check_password("correct horse battery")
    assert AuditEntry.objects.get(action="administrator.created").data == {"source": "environment"}


def test_a_weak_password_in_the_environment_is_accepted_with_a_warning() -> None:
    warnings = first_admin.create_from_environment(variables(password="ada"))
    assert any("too short" in warning for warning in warnings or [])
    assert User.objects.get().check_password("ada")


def test_an_invalid_email_in_the_environment_is_accepted_with_a_warning() -> None:
    warnings = first_admin.create_from_environment(variables(email="nowhere"))
    assert any("valid email" in warning for warning in warnings or [])
    assert User.objects.get().email == "nowhere"


def test_an_empty_environment_creates_no_account() -> None:
    assert first_admin.create_from_environment({}) is None
    assert not User.objects.exists()


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        (variables(password=""), "PASSWORD is not"),
        (variables(name="a b"), "valid username"),
    ],
)
def test_an_invalid_account_raises_an_error(environment: dict[str, str], message: str) -> None:
    with pytest.raises(first_admin.EnvironmentAccountError, match=message):
        first_admin.create_from_environment(environment)
    assert not User.objects.exists()


def test_an_existing_user_is_not_promoted() -> None:
    User.objects.create_user("ada", password="old")
    with pytest.raises(first_admin.EnvironmentAccountError, match="already exists"):
        first_admin.create_from_environment(variables())
    assert not User.objects.get().is_superuser


# --- The command ----------------------------------------------------------------------------------------


def prepared(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    call_command("prepare", "--json")
    report: dict[str, Any] = json.loads(capsys.readouterr().out)
    return report


def test_prepare_creates_a_link_without_an_account_in_the_environment(
    client: Client, capsys: pytest.CaptureFixture[str]
) -> None:
    report = prepared(capsys)
    assert report["administrator"] == "missing"
    assert client.get(report["setup_path"]).status_code == 200


def test_prepare_creates_the_account_in_the_environment(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in variables().items():
        monkeypatch.setenv(name, value)
    assert prepared(capsys)["administrator"] == "created"
    assert prepared(capsys) == {"migrations": 0, "administrator": "exists", "setup_path": "", "warnings": []}


def test_prepare_creates_a_link_when_the_environment_is_invalid(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DJANGO_SUPERUSER_USERNAME", "ada")
    report = prepared(capsys)
    assert report["setup_path"]
    assert "DJANGO_SUPERUSER_PASSWORD is not" in report["warnings"][0]


def test_prepare_deletes_the_link_when_there_is_an_administrator(
    link: str, capsys: pytest.CaptureFixture[str]
) -> None:
    User.objects.create_superuser("ada")
    prepared(capsys)
    assert list(Path(settings.RUN_DIR).iterdir()) == []


# --- The link -------------------------------------------------------------------------------------------


def test_the_link_creates_the_administrator_and_logs_in(client: Client, link: str) -> None:
    answer = client.post(link, GOOD, follow=True)
    assert answer.redirect_chain == [("/admin/", 302)]
    assert answer.status_code == 200
    user = User.objects.get()
    assert user.is_superuser
    assert user.is_staff
    assert user.check_password(GOOD["password1"])
    assert AuditEntry.objects.get(action="administrator.created").address == "127.0.0.1"


def test_the_link_works_once(client: Client, link: str) -> None:
    client.post(link, GOOD)
    User.objects.all().delete()
    assert Client().get(link).status_code == 404
    assert Client().post(link, GOOD).status_code == 404


def test_the_link_is_invalid_when_there_is_an_administrator(client: Client, link: str) -> None:
    User.objects.create_superuser("eve")
    assert client.get(link).status_code == 404
    assert client.post(link, GOOD).status_code == 404
    assert User.objects.count() == 1


def test_the_link_expires_after_half_an_hour() -> None:
    now = timezone.now()
    token = first_admin.create_link(now)
    assert first_admin.is_link_valid(token, now + timedelta(minutes=29))
    assert not first_admin.is_link_valid(token, now + timedelta(minutes=30))


def test_a_new_link_invalidates_the_one_before(client: Client, link: str) -> None:
    first_admin.create_link(timezone.now())
    assert client.get(link).status_code == 404


@pytest.mark.parametrize("token", ["x", "%00", "..", "a" * 5000, "ä", "%2e%2e%2fsetup.json"])
def test_a_made_up_link_is_invalid(client: Client, link: str, token: str) -> None:
    answer = client.get(f"/setup/{token}/")
    assert answer.status_code == 404


def test_a_damaged_link_file_makes_the_link_invalid(client: Client, link: str) -> None:
    for content in ("", "{", "[]", "{}", '{"digest": 3, "expires_at": "never"}'):
        (Path(settings.RUN_DIR) / "setup.json").write_text(content)
        assert client.get(link).status_code == 404


def test_only_a_hash_of_the_token_is_stored_in_a_private_file(link: str) -> None:
    (file,) = Path(settings.RUN_DIR).iterdir()
    assert link.split("/")[2] not in file.read_text()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"password1": "short", "password2": "short"}, "too short"),
        ({"password2": "another horse battery"}, "match"),
        ({"username": "no spaces please"}, "valid username"),
        ({"username": ""}, "required"),
    ],
)
def test_a_form_with_errors_can_be_sent_again(
    client: Client, link: str, change: dict[str, str], message: str
) -> None:
    answer = client.post(link, {**GOOD, **change})
    assert answer.status_code == 200
    assert message in answer.content.decode()
    assert not User.objects.exists()
    assert client.post(link, GOOD).status_code == 302


def test_the_form_cannot_be_sent_from_another_site(link: str) -> None:
    assert Client(enforce_csrf_checks=True).post(link, GOOD).status_code == 403


def test_the_page_is_not_cached_and_sends_no_referrer(client: Client, link: str) -> None:
    answer = client.get(link)
    assert "no-store" in answer["Cache-Control"]
    assert (
        answer["Referrer-Policy"] == "same-origin"
    )  # with "no-referrer", browsers hide the origin from the CSRF check


def test_a_failure_while_saving_keeps_the_link_valid(
    client: Client, link: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: Any, **kwargs: Any) -> None:
        raise OSError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(User, "save", fail)
        with pytest.raises(OSError, match="disk full"):
            client.post(link, GOOD)
    assert client.post(link, GOOD).status_code == 302


@pytest.mark.django_db(transaction=True)
def test_only_one_of_two_simultaneous_forms_succeeds(link: str) -> None:
    def send(name: str) -> int:
        try:
            return Client().post(link, {**GOOD, "username": name}).status_code
        finally:
            connection.close()

    with ThreadPoolExecutor(4) as pool:
        codes = sorted(pool.map(send, ["ada", "eve", "bob", "kim"]))
    assert codes == [302, 404, 404, 404]
    assert User.objects.count() == 1
