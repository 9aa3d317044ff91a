from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.test import Client
from django.utils import timezone

from core.models import AuditEntry
from webhooks import services
from webhooks.admin.mutes import next_starts
from webhooks.models import WebhookEndpoint, WebhookMute
from webhooks.tests import rig

from .conftest import MUTES, text_of

NOW = datetime(2026, 3, 4, 12, 30, tzinfo=UTC)


def filled(**changes: Any) -> dict[str, Any]:
    given = {"starts_at_0": "2026-01-01", "starts_at_1": "10:00:00", "ends_at_0": "", "ends_at_1": ""}
    return {**given, "endpoint": "", "program": "", "cron": "", "cron_seconds": "", "reason": "", **changes}


def test_an_operator_creates_a_maintenance_window(operator: Client, ops: WebhookEndpoint) -> None:
    web = rig.program("web")
    posted = filled(endpoint=ops.pk, program=web.pk, cron="0 3 * * 0", cron_seconds="2h", reason="backup")
    assert operator.post(MUTES + "add/", posted).status_code == 302
    made = WebhookMute.objects.get()
    assert (made.endpoint, made.program, made.cron, made.cron_seconds) == (ops, web, "0 3 * * 0", 7200)
    assert (made.reason, made.actor) == ("backup", "operate-person")
    assert AuditEntry.objects.filter(action="webhook.muted").count() == 1
    assert not AuditEntry.objects.filter(action="webhookmute.add").exists()
    page = text_of(operator.get(MUTES))
    assert "ops for web" in page and "next:" in page and "03:00" in page


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"cron": "61 * * * *"}, "Not a cron expression"),
        ({"cron": "0 3 * * 0", "cron_seconds": "long"}, "Use 30s, 5m, 2h or 1d"),
        ({"ends_at_0": "2025-12-31", "ends_at_1": "10:00:00"}, "must be after"),
        ({"endpoint": "99999"}, "valid choice"),
        ({"reason": "all of it"}, "Confirm it with"),
    ],
)
def test_errors_are_shown_and_nothing_is_muted(operator: Client, changes: dict[str, Any], words: str) -> None:
    assert words in text_of(operator.post(MUTES + "add/", filled(**changes)))
    assert not WebhookMute.objects.exists()


def test_everything_can_be_muted_with_confirmation(operator: Client) -> None:
    assert operator.post(MUTES + "add/", filled(everything="on")).status_code == 302
    made = WebhookMute.objects.get()
    assert operator.get(f"{MUTES}{made.pk}/change/").status_code == 200


def test_the_endpoint_can_be_preselected(operator: Client, ops: WebhookEndpoint) -> None:
    assert f'<option value="{ops.pk}" selected>' in text_of(operator.get(f"{MUTES}add/?endpoint={ops.pk}"))
    for nonsense in ("x", "²", "0", "9" * 40, f"{ops.pk:018}{9:030}"):
        assert operator.get(f"{MUTES}add/?endpoint={nonsense}").status_code == 200


def test_viewers_see_mutes_and_cannot_remove_them(viewer: Client) -> None:
    row = services.mute(actor="alice", everything=True, reason="quiet please")
    page = text_of(viewer.get(MUTES))
    assert "quiet please" in page and "active" in page and "all endpoints for all events" in page
    for address in (f"{row.pk}/lift/", f"{row.pk}/delete/", "add/"):
        assert viewer.post(MUTES + address, {"post": "yes"}).status_code == 403
    assert WebhookMute.objects.exists()


def test_removing_mutes_is_in_the_audit_trail(operator: Client) -> None:
    rows = [services.mute(actor="alice", everything=True, reason=str(number)) for number in range(3)]
    operator.get(f"{MUTES}{rows[0].pk}/lift/")
    assert WebhookMute.objects.count() == 3
    operator.post(f"{MUTES}{rows[0].pk}/lift/")
    operator.post(f"{MUTES}{rows[1].pk}/delete/", {"post": "yes"})
    chosen = {"action": "delete_selected", "_selected_action": [rows[2].pk], "post": "yes"}
    operator.post(MUTES, chosen)
    assert not WebhookMute.objects.exists()
    assert AuditEntry.objects.filter(action="webhook.unmuted").count() == 3


def test_the_next_window_is_shown(viewer: Client) -> None:
    assert "next:" in viewer.get(MUTES + "next/", {"cron": "0 4 * * *"}).json()["text"]
    for wrong in ("", "x", "61 * * * *", "0 0 30 2 *"):
        assert viewer.get(MUTES + "next/", {"cron": wrong}).json()["wrong"]


def test_next_starts_of_a_cron_expression() -> None:
    found = next_starts("0 4 * * *", NOW, 2)
    assert found[1] - found[0] == timedelta(days=1)
    assert found[0] > NOW
    with pytest.raises(ValidationError):
        next_starts("0 0 30 2 *", NOW)


def test_ended_and_scheduled_mutes_are_marked(viewer: Client) -> None:
    now = timezone.now()
    services.mute(actor="a", starts_at=now - timedelta(days=2), ends_at=now - timedelta(days=1), reason="old")
    services.mute(actor="a", everything=True, starts_at=now + timedelta(days=1), reason="soon")
    page = text_of(viewer.get(MUTES))
    assert "ended" in page and "scheduled" in page


def test_the_next_windows_lie_in_the_future_in_the_repeated_hour_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Europe/Berlin")
    now = datetime(2026, 10, 25, 1, 10, tzinfo=UTC)  # 2:10 for the second time
    days = [at.astimezone(UTC).day for at in next_starts("30 2 * * *", now)]
    assert days == [26, 27, 28]
