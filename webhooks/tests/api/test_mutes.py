"""`/webhooks/mutes`: mutes and maintenance windows."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from core.access import Role
from core.models import AuditEntry
from programs.tests.api_rig import Api
from webhooks.models import WebhookDelivery, WebhookMute
from webhooks.tests.rig import endpoint, program, record_event

from .rig import fields_of

pytestmark = pytest.mark.django_db


@pytest.fixture
def api() -> Api:
    return Api(Role.OPERATE)


def test_a_mute_applies_until_it_is_removed(api: Api) -> None:
    row = endpoint()
    answer = api.send("POST", "/webhooks/mutes", {"webhook": row.pk, "reason": "moving house"})
    shown = answer.json()
    assert (answer.status_code, answer["Location"]) == (201, f"/api/webhooks/mutes/{shown['id']}")
    assert (shown["webhook"], shown["active"], shown["ends_at"]) == (row.pk, True, None)
    assert shown["actor"].endswith("(token test)")
    record_event("agent.started")
    assert WebhookDelivery.objects.get().reason == "muted: moving house"
    assert api("DELETE", f"/webhooks/mutes/{shown['id']}") == (204, None)
    assert api("GET", f"/webhooks/mutes/{shown['id']}")[0] == 404
    record_event("agent.started")
    assert WebhookDelivery.objects.latest("event__seq").state == "pending"


def test_a_maintenance_window_can_be_created_and_changed(api: Api) -> None:
    web = program()
    _, shown = api("POST", "/webhooks/mutes", {"program": web.pk, "cron": "0 3 * * *", "cron_seconds": 1800})
    pk = shown["id"]
    status, changed = api("PATCH", f"/webhooks/mutes/{pk}", {"cron_seconds": 600, "starts_at": None})
    assert (status, changed["cron"], changed["cron_seconds"]) == (200, "0 3 * * *", 600)
    assert api.get(f"/webhooks/mutes/{pk}")["program"] == web.pk
    actions = AuditEntry.objects.filter(action__startswith="webhook.mute").values_list("action", flat=True)
    assert list(actions.order_by("pk")) == ["webhook.muted", "webhook.mute_changed"]


def test_a_mute_without_any_limit_needs_confirmation(api: Api) -> None:
    status, shown = api("POST", "/webhooks/mutes", {"everything": True})
    assert (status, shown["webhook"], shown["program"], shown["ends_at"]) == (201, None, None, None)
    assert api("PATCH", f"/webhooks/mutes/{shown['id']}", {"reason": "moving"})[0] == 200
    _, bound = api("POST", "/webhooks/mutes", {"cron": "0 3 * * *"})
    status, answer = api("PATCH", f"/webhooks/mutes/{bound['id']}", {"cron": ""})
    assert (status, fields_of(answer)) == (422, {"everything"})
    assert api("PATCH", f"/webhooks/mutes/{bound['id']}", {"cron": "", "everything": True})[0] == 200


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "everything"),
        ({"reason": "by mistake"}, "everything"),
        ({"webhook": 4711}, "webhook"),
        ({"program": 4711}, "program"),
        ({"webhook": "ops"}, "webhook"),
        ({"cron": "every day"}, "cron"),
        ({"cron_seconds": 0}, "cron_seconds"),
        ({"cron_seconds": 10**9}, "cron_seconds"),
        ({"cron_seconds": 10**30}, "cron_seconds"),
        ({"ends_at": "2020-01-01T00:00:00Z"}, "ends_at"),
        ({"starts_at": "tomorrow"}, "starts_at"),
        ({"reason": "x" * 201}, "reason"),
        ({"reason": "\x00"}, "reason"),
        ({"reason": None}, "reason"),
        ({"actor": "root"}, "actor"),
    ],
)
def test_invalid_mutes_are_refused_with_their_field(api: Api, body: dict[str, Any], field: str) -> None:
    status, answer = api("POST", "/webhooks/mutes", body)
    assert (status, fields_of(answer)) == (422, {field})
    assert not WebhookMute.objects.exists()


def test_mutes_are_filtered_by_whether_they_have_ended(api: Api) -> None:
    now = timezone.now()
    for reason, ends_at in (("over", now - timedelta(hours=1)), ("lasting", None)):
        WebhookMute.objects.create(reason=reason, starts_at=now - timedelta(hours=2), ends_at=ends_at)

    def reasons(query: str) -> list[str]:
        return [row["reason"] for row in api.get(f"/webhooks/mutes?{query}")["items"]]

    assert sorted(reasons("")) == ["lasting", "over"]
    assert (reasons("current=true"), reasons("current=false")) == (["lasting"], ["over"])
    assert reasons("search=LAST") == ["lasting"]
