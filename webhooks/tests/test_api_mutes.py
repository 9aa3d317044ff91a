"""Mutes and maintenance windows, and previews, by the API."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from core.access import Role
from core.models import AuditEntry
from programs.tests.api_rig import Api
from webhooks.models import WebhookDelivery, WebhookMute

from .api_rig import DISCORD, create, fields_of
from .rig import endpoint, happen, program

pytestmark = pytest.mark.django_db


@pytest.fixture
def api() -> Api:
    return Api(Role.OPERATE)


def test_a_mute_silences_from_now_on_until_it_is_lifted(api: Api) -> None:
    row = endpoint()
    answer = api.send("POST", "/webhooks/mutes", {"webhook": row.pk, "reason": "moving house"})
    shown = answer.json()
    assert (answer.status_code, answer["Location"]) == (201, f"/api/webhooks/mutes/{shown['id']}")
    assert (shown["webhook"], shown["active"], shown["ends_at"]) == (row.pk, True, None)
    assert shown["actor"].endswith("(token test)")
    happen("agent.started")
    assert WebhookDelivery.objects.get().reason == "muted: moving house"
    assert api("DELETE", f"/webhooks/mutes/{shown['id']}") == (204, None)
    assert api("GET", f"/webhooks/mutes/{shown['id']}")[0] == 404
    happen("agent.started")
    assert WebhookDelivery.objects.latest("event__seq").state == "pending"


def test_a_maintenance_window_can_be_made_and_changed(api: Api) -> None:
    web = program()
    _, shown = api("POST", "/webhooks/mutes", {"program": web.pk, "cron": "0 3 * * *", "cron_seconds": 1800})
    pk = shown["id"]
    status, changed = api("PATCH", f"/webhooks/mutes/{pk}", {"cron_seconds": 600, "starts_at": None})
    assert (status, changed["cron"], changed["cron_seconds"]) == (200, "0 3 * * *", 600)
    assert api.get(f"/webhooks/mutes/{pk}")["program"] == web.pk
    actions = AuditEntry.objects.filter(action__startswith="webhook.mute").values_list("action", flat=True)
    assert list(actions.order_by("pk")) == ["webhook.muted", "webhook.mute_changed"]


def test_silence_without_any_bound_must_be_meant(api: Api) -> None:
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
def test_a_mute_that_means_nothing_is_refused_by_field(api: Api, body: dict[str, Any], field: str) -> None:
    status, answer = api("POST", "/webhooks/mutes", body)
    assert (status, fields_of(answer)) == (422, {field})
    assert not WebhookMute.objects.exists()


def test_mutes_are_listed_and_told_apart_by_whether_they_are_over(api: Api) -> None:
    now = timezone.now()
    for reason, ends_at in (("over", now - timedelta(hours=1)), ("lasting", None)):
        WebhookMute.objects.create(reason=reason, starts_at=now - timedelta(hours=2), ends_at=ends_at)

    def reasons(query: str) -> list[str]:
        return [row["reason"] for row in api.get(f"/webhooks/mutes?{query}")["items"]]

    assert sorted(reasons("")) == ["lasting", "over"]
    assert (reasons("current=true"), reasons("current=false")) == (["lasting"], ["over"])
    assert reasons("search=LAST") == ["lasting"]


# --- Previews -------------------------------------------------------------------------------------------


def test_a_preview_tells_of_the_last_event_and_sends_nothing(api: Api) -> None:
    row = endpoint()
    event = happen("program.crashed", program(), exit_code=3)
    count = WebhookDelivery.objects.count()
    status, shown = api("POST", f"/webhooks/{row.pk}/preview", {})
    assert (status, shown["sample"], shown["signed"]) == (200, False, True)
    assert shown["event"] == {"id": event.uid, "type": "program.crashed"}
    assert event.uid in shown["request"]["body"]
    assert WebhookDelivery.objects.count() == count


def test_a_preview_can_tell_of_another_event(api: Api) -> None:
    row, web = endpoint(), program()
    first = happen("program.started", web)
    happen("program.crashed", web)
    assert api("POST", f"/webhooks/{row.pk}/preview", {"event": first.uid})[1]["event"]["id"] == first.uid
    assert api("POST", f"/webhooks/{row.pk}/preview", {"event": "evt_none"})[0] == 404


def test_where_nothing_happened_yet_a_preview_makes_something_up(api: Api) -> None:
    admin = Api(Role.ADMIN)
    pk = create(admin, format="discord", url=DISCORD)["id"]
    status, shown = api("POST", f"/webhooks/{pk}/preview", {})
    assert (status, shown["sample"]) == (200, True)
    assert "example" in shown["request"]["body"] and "connection refused" in shown["request"]["body"]
    assert shown["request"]["url"] == "https://discord.com/••••••"


def test_values_can_be_previewed_before_they_are_saved_with_the_stored_secrets_blanked() -> None:
    admin = Api(Role.ADMIN)
    kept = {"secret_headers": "Authorization: Bearer T0PSECRET"}
    pk = create(admin, format="template", settings=kept)["id"]
    given = {
        "format": "template", "webhook": pk, "url": {"set": True},
        "settings": {"secret_headers": {"set": True}, "body": '{"text": "$SUMMARY"}'},
    }  # fmt: skip
    status, shown = admin("POST", "/webhooks/preview", given)
    assert status == 200, shown
    assert "T0PSECRET" not in str(shown) and "Authorization" in shown["request"]["headers"]
    assert '"text"' in shown["request"]["body"]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"format": "pigeon"}, "format"),
        ({"format": "telegram"}, "settings"),
        ({"format": "template", "settings": {"body": "$NIX"}}, "settings"),
        ({"format": "template", "settings": {"body": "{"}}, "settings"),
        ({"format": "discord", "settings": {"username": ["a"]}}, "settings"),
        ({"url": 5}, "url"),
        ({"sending": True}, "sending"),
    ],
)
def test_what_cannot_be_rendered_is_refused_by_field(body: dict[str, Any], field: str) -> None:
    status, answer = Api(Role.ADMIN)("POST", "/webhooks/preview", body)
    assert status == 422 and {found.partition(".")[0] for found in fields_of(answer)} == {field}, answer
