"""`/webhooks/formats` and previews."""

from __future__ import annotations

from typing import Any

import pytest

from core.access import Role
from programs.tests.api_rig import Api
from webhooks.models import WebhookDelivery
from webhooks.tests.rig import endpoint, program, record_event

from .rig import DISCORD, create, fields_of

pytestmark = pytest.mark.django_db


@pytest.fixture
def api() -> Api:
    return Api(Role.OPERATE)


def test_formats_have_the_schema_of_their_settings() -> None:
    found = {row["kind"]: row for row in Api(Role.READ).get("/webhooks/formats")["items"]}
    assert found["telegram"]["settings"]["required"] == ["chat_id"]
    assert found["template"]["settings"]["properties"]["secret_headers"]["writeOnly"] is True
    assert found["standard"]["is_signed"] and not found["standard"]["is_chat"]


def test_a_preview_shows_the_last_event_and_sends_nothing(api: Api) -> None:
    row = endpoint()
    event = record_event("program.crashed", program(), exit_code=3)
    count = WebhookDelivery.objects.count()
    status, shown = api("POST", f"/webhooks/{row.pk}/preview", {})
    assert (status, shown["sample"], shown["signed"]) == (200, False, True)
    assert shown["event"] == {"id": event.uid, "type": "program.crashed"}
    assert event.uid in shown["request"]["body"]
    assert WebhookDelivery.objects.count() == count


def test_a_preview_can_show_another_event(api: Api) -> None:
    row, web = endpoint(), program()
    first = record_event("program.started", web)
    record_event("program.crashed", web)
    assert api("POST", f"/webhooks/{row.pk}/preview", {"event": first.uid})[1]["event"]["id"] == first.uid
    assert api("POST", f"/webhooks/{row.pk}/preview", {"event": "evt_none"})[0] == 404


def test_without_events_a_preview_shows_a_sample(api: Api) -> None:
    admin = Api(Role.ADMIN)
    pk = create(admin, format="discord", url=DISCORD)["id"]
    status, shown = api("POST", f"/webhooks/{pk}/preview", {})
    assert (status, shown["sample"]) == (200, True)
    assert "example" in shown["request"]["body"] and "connection refused" in shown["request"]["body"]
    assert shown["request"]["url"] == "https://discord.com/••••••"


def test_unsaved_values_can_be_previewed_with_stored_secrets_masked() -> None:
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
def test_invalid_preview_values_are_refused_with_their_field(body: dict[str, Any], field: str) -> None:
    status, answer = Api(Role.ADMIN)("POST", "/webhooks/preview", body)
    assert status == 422 and {found.partition(".")[0] for found in fields_of(answer)} == {field}, answer
