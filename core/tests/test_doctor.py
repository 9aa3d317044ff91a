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
from core.doctor import Check, Finding, Status, fail, ok, register, run_checks
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


def test_findings_are_in_the_order_of_registration(checks: list[Check]) -> None:
    @register
    def first() -> Iterator[Finding]:
        yield ok("a", "fine")

    @register
    def second() -> Iterator[Finding]:
        yield fail("b", "broken", "fix it")

    register(first)
    assert [(finding.id, str(finding.status)) for finding in run_checks()] == [("a", "ok"), ("b", "fail")]


def test_a_check_that_raises_becomes_a_finding_and_the_others_still_run(checks: list[Check]) -> None:
    @register
    def breaking() -> Iterator[Finding]:
        yield ok("a", "fine")
        raise ZeroDivisionError("by zero")

    @register
    def later() -> Iterator[Finding]:
        yield ok("b", "fine")

    found = run_checks()
    assert [finding.id for finding in found] == ["a", "check.breaking", "b"]
    assert "ZeroDivisionError: by zero" in found[1].summary


def test_a_database_error_in_a_check_is_a_warning(checks: list[Check]) -> None:
    @register
    def rows() -> Iterator[Finding]:
        raise OperationalError("disk I/O error")

    [finding] = run_checks()
    assert (finding.status, finding.summary) == (Status.WARN, "Not checked: disk I/O error")


@pytest.mark.parametrize(("megabytes", "status"), [(50, Status.FAIL), (500, Status.WARN), (5_000, Status.OK)])
def test_the_disk_finding_depends_on_the_free_space(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch, megabytes: int, status: Status
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(10**12, 0, megabytes * 1024**2))
    assert only(doctor_checks.disk_space()).status is status


def test_undecryptable_secrets_are_a_failure(data_dir: Path, db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    tokens = [encrypt("x")]
    monkeypatch.setattr(key_rotation, "_stores", {"samples": lambda visit: [visit(token) for token in tokens]})
    assert [finding.status for finding in doctor_checks.secret_keys()] == [Status.OK, Status.OK]
    keys_path().unlink()
    found = list(doctor_checks.secret_keys())[1]
    assert found.status is Status.FAIL
    assert found.summary == "samples: 1 of 1 cannot be decrypted with the present keys."


def test_a_full_disk_does_not_suggest_restoring_the_keys(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full() -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(doctor_checks, "keys", full)
    found = only(doctor_checks.secret_keys())
    assert found.status is Status.FAIL
    assert found.summary.endswith("secrets.key: No space left on device.")
    assert "backup" not in found.mend


def test_the_number_of_keys_is_in_the_summary(data_dir: Path, db: None) -> None:
    assert "1 usable key and" in next(iter(doctor_checks.secret_keys())).summary


@pytest.mark.parametrize(
    ("age", "running", "status"),
    [(5, True, Status.OK), (5, False, Status.OK), (90, True, Status.FAIL), (90, False, Status.WARN)],
)
def test_the_jobs_finding_depends_on_the_heartbeat(
    data_dir: Path, db: None, age: int, running: bool, status: Status
) -> None:
    Heartbeat.objects.create(name="jobs", at=timezone.now() - timedelta(seconds=age))
    if running:
        with hold("serve"):
            assert only(doctor_checks.jobs()).status is status
    else:
        assert only(doctor_checks.jobs()).status is status


def test_jobs_that_never_ran_are_reported(data_dir: Path, db: None) -> None:
    assert only(doctor_checks.jobs()).status is Status.WARN
    with hold("jobs"):
        assert "No job has ever finished" in only(doctor_checks.jobs()).summary


def test_the_port_of_the_running_monitor_is_ok(data_dir: Path, settings: Any) -> None:
    settings.BIND = "192.0.2.1:80"  # reserved for documentation, so not an address of this machine
    assert only(doctor_checks.web_port()).status is Status.FAIL
    with hold("serve"):
        assert only(doctor_checks.web_port()).status is Status.OK


@pytest.mark.parametrize("bind", ["127.0.0.1:0", "[::1]:0", "0", "localhost:0"])
def test_every_notation_of_a_free_port_is_ok(data_dir: Path, settings: Any, bind: str) -> None:
    settings.BIND = bind
    assert only(doctor_checks.web_port()).status is Status.OK


def test_a_clock_that_was_set_back_is_a_warning(db: None) -> None:
    audit("alice", "x")
    assert only(doctor_checks.clock()).status is Status.OK
    with connection.cursor() as cursor:
        cursor.execute("UPDATE core_auditentry SET at = %s", [timezone.now() + timedelta(hours=1)])
    assert only(doctor_checks.clock()).status is Status.WARN


@pytest.mark.parametrize("check", [doctor_checks.exit_notification, doctor_checks.open_files])
def test_machine_checks_return_one_finding(check: Callable[[], Iterable[Finding]]) -> None:
    assert only(check()).summary
