from __future__ import annotations

import shutil
from collections import namedtuple
from collections.abc import Callable, Iterable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import OperationalError, connection
from django.utils import timezone

from core import doctor, doctor_checks, key_rotation
from core.access import audit
from core.doctor import Check, Finding, Status, examine, fail, ok, register
from core.locks import hold
from core.models import Heartbeat
from core.secrets import encrypt, keys_path

Usage = namedtuple("Usage", "total used free")


@pytest.fixture
def checks(monkeypatch: pytest.MonkeyPatch) -> list[Check]:
    registered: list[Check] = []
    monkeypatch.setattr(doctor, "_checks", registered)
    return registered


def only(findings: Iterable[Finding]) -> Finding:
    [finding] = findings
    return finding


def test_findings_come_in_the_order_of_registration(checks: list[Check]) -> None:
    @register
    def first() -> Iterator[Finding]:
        yield ok("a", "fine")

    @register
    def second() -> Iterator[Finding]:
        yield fail("b", "broken", "mend it")

    register(first)
    assert [(finding.id, str(finding.status)) for finding in examine()] == [("a", "ok"), ("b", "fail")]


def test_a_check_that_breaks_is_a_finding_and_the_others_go_on(checks: list[Check]) -> None:
    @register
    def breaking() -> Iterator[Finding]:
        yield ok("a", "fine")
        raise ZeroDivisionError("by zero")

    @register
    def later() -> Iterator[Finding]:
        yield ok("b", "fine")

    found = examine()
    assert [finding.id for finding in found] == ["a", "check.breaking", "b"]
    assert "ZeroDivisionError: by zero" in found[1].summary


def test_what_needs_a_broken_database_is_put_off(checks: list[Check]) -> None:
    @register
    def rows() -> Iterator[Finding]:
        raise OperationalError("disk I/O error")

    [finding] = examine()
    assert (finding.status, finding.summary) == (Status.WARN, "Not looked at: disk I/O error")


@pytest.mark.parametrize(("megabytes", "status"), [(50, Status.FAIL), (500, Status.WARN), (5_000, Status.OK)])
def test_the_disk_is_judged_by_what_is_free(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch, megabytes: int, status: Status
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(10**12, 0, megabytes * 1024**2))
    assert only(doctor_checks.disk_space()).status is status


def test_secrets_that_no_key_opens_are_told(data_dir: Path, db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    tokens = [encrypt("x")]
    monkeypatch.setattr(key_rotation, "_stores", {"samples": lambda visit: [visit(token) for token in tokens]})
    assert [finding.status for finding in doctor_checks.secret_keys()] == [Status.OK, Status.OK]
    keys_path().unlink()
    found = list(doctor_checks.secret_keys())[1]
    assert found.status is Status.FAIL
    assert found.summary == "samples: 1 of 1 cannot be opened with the present keys."


def test_keys_that_cannot_be_made_are_no_reason_to_look_for_a_backup(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full() -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(doctor_checks, "keys", full)
    found = only(doctor_checks.secret_keys())
    assert found.status is Status.FAIL
    assert found.summary.endswith("secrets.key cannot be made or read: No space left on device.")
    assert "backup" not in found.mend


def test_one_key_is_one_key(data_dir: Path, db: None) -> None:
    assert "1 usable key," in next(iter(doctor_checks.secret_keys())).summary


@pytest.mark.parametrize(
    ("age", "running", "status"),
    [(5, True, Status.OK), (5, False, Status.OK), (90, True, Status.FAIL), (90, False, Status.WARN)],
)
def test_jobs_are_judged_by_their_heartbeat(
    data_dir: Path, db: None, age: int, running: bool, status: Status
) -> None:
    Heartbeat.objects.create(name="jobs", at=timezone.now() - timedelta(seconds=age))
    if running:
        with hold("serve"):
            assert only(doctor_checks.jobs()).status is status
    else:
        assert only(doctor_checks.jobs()).status is status


def test_jobs_that_never_ran_are_told(data_dir: Path, db: None) -> None:
    assert only(doctor_checks.jobs()).status is Status.WARN
    with hold("jobs"):
        assert "No job has been finished ever" in only(doctor_checks.jobs()).summary


def test_our_own_port_is_not_taken_by_a_stranger(data_dir: Path, settings: Any) -> None:
    settings.BIND = "192.0.2.1:80"  # an address no machine has
    assert only(doctor_checks.web_port()).status is Status.FAIL
    with hold("serve"):
        assert only(doctor_checks.web_port()).status is Status.OK


@pytest.mark.parametrize("bind", ["127.0.0.1:0", "[::1]:0", "0", "localhost:0"])
def test_a_free_port_is_free_however_it_is_written(data_dir: Path, settings: Any, bind: str) -> None:
    settings.BIND = bind
    assert only(doctor_checks.web_port()).status is Status.OK


def test_a_clock_that_was_turned_back_is_told(db: None) -> None:
    audit("alice", "x")
    assert only(doctor_checks.clock()).status is Status.OK
    with connection.cursor() as cursor:
        cursor.execute("UPDATE core_auditentry SET at = %s", [timezone.now() + timedelta(hours=1)])
    assert only(doctor_checks.clock()).status is Status.WARN


@pytest.mark.parametrize("check", [doctor_checks.exit_notices, doctor_checks.open_files])
def test_the_machine_is_looked_at(check: Callable[[], Iterable[Finding]]) -> None:
    assert only(check()).summary
