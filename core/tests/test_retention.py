"""Which clock may delete, and how a person confirms one."""

from __future__ import annotations

import io
import json
from datetime import UTC, datetime, timedelta

import pytest
from django.core.management import CommandError, call_command

from core import doctor_checks, retention
from core.models import AuditEntry, RetentionState
from core.retention import ClockError, ClockReading, current_state, deletion_time, request_permit

pytestmark = pytest.mark.django_db
NOON = datetime(2026, 10, 4, 12, tzinfo=UTC)


def reading(days: float = 0, difference: float = 0.0) -> ClockReading:
    return ClockReading(NOON + timedelta(days=days), difference, "boot", 100.0)


def test_other_processes_delete_nothing_before_an_agent_checked_the_clock() -> None:
    assert deletion_time(reading()) is None
    request_permit(reading(), None, is_default_host=True)
    assert deletion_time(reading()) == NOON


@pytest.mark.parametrize("clock", [reading(days=100), reading(difference=90)])
def test_other_processes_delete_nothing_by_a_wrong_clock(clock: ClockReading) -> None:
    request_permit(reading(), None, is_default_host=True)
    with pytest.raises(ClockError, match="clock"):
        deletion_time(clock)


def test_nothing_is_deleted_while_the_settings_of_the_default_host_are_unknown() -> None:
    assert request_permit(reading(), None, is_default_host=False) is None


def test_an_hour_that_the_uptime_does_not_explain_is_a_jump() -> None:
    state = RetentionState(seen_at=NOON, boot="boot", uptime=100.0)
    assert retention.find_jump(state, reading(days=0.5 / 24)) is None
    assert retention.find_jump(state, reading(days=1.5 / 24)) == timedelta(hours=1.5)


def test_a_jump_is_a_finding_and_a_command_confirms_it(monkeypatch: pytest.MonkeyPatch) -> None:
    request_permit(reading(), None, is_default_host=True)
    monkeypatch.setattr(doctor_checks, "read_clock", lambda: reading(days=100))
    monkeypatch.setattr("core.management.commands.retention.read_clock", lambda: reading(days=100))
    [finding] = doctor_checks.retention()
    assert (finding.id, str(finding.status)) == ("retention.clock", "warn")
    assert "100 days more than expected" in finding.summary and "retention confirm" in finding.mend
    call_command("retention", "confirm", stdout=io.StringIO())
    assert current_state().seen_at == NOON + timedelta(days=100)
    assert AuditEntry.objects.get().action == "retention.confirm"
    assert [str(finding.status) for finding in doctor_checks.retention()] == ["ok"]


def test_a_clock_that_differs_from_the_databases_cannot_be_confirmed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("core.management.commands.retention.read_clock", lambda: reading(difference=-90))
    with pytest.raises(CommandError, match="90 s behind the database's"):
        call_command("retention", "confirm")


def test_the_command_shows_the_settings_that_apply() -> None:
    request_permit(retention.read_clock(), None, is_default_host=True)
    out = io.StringIO()
    call_command("retention", "--json", stdout=out)
    shown = json.loads(out.getvalue())
    assert shown["settings"]["RAW_HOURS"] == 24 and shown["owner"] and shown["refused"] is None


def test_settings_that_do_not_apply_here_are_a_finding() -> None:
    request_permit(retention.read_clock(), None, is_default_host=True)
    RetentionState.objects.update(kept={"RAW_HOURS": 72})
    [_, finding] = doctor_checks.retention()
    assert finding.id == "retention.settings" and "RAW_HOURS is 24 here" in finding.summary
