"""`/webhooks`: creates, reads, changes and removes endpoints."""

from __future__ import annotations

from typing import Any

import pytest

from core.models import AuditEntry
from programs.tests.api_rig import Api
from webhooks import schemas, services
from webhooks.models import WebhookDelivery, WebhookEndpoint
from webhooks.tests.rig import endpoint, program, record_event

from .rig import DISCORD, URL, create, fields_of, stored

pytestmark = pytest.mark.django_db
CONTRACT = {
    "name", "url", "format", "events", "programs", "tags", "min_severity", "enabled", "retry_schedule",
    "timeout_seconds", "max_concurrency", "rate_per_second", "bundle_seconds", "secret",
}  # fmt: skip


@pytest.fixture
def api() -> Api:
    return Api()


def test_name_and_url_are_enough_and_the_rest_has_defaults(api: Api) -> None:
    answer = api.send("POST", "/webhooks", {"name": "ops", "url": URL})
    shown = answer.json()
    assert answer.status_code == 201
    assert answer["Location"] == f"/api/webhooks/{shown['id']}"
    assert shown.keys() >= CONTRACT
    assert (shown["format"], shown["events"], shown["min_severity"]) == ("standard", ["program.*"], "info")
    assert shown["retry_schedule"] == [5, 30, 120, 300, 1800, 7200, 18000, 36000, 86400]
    assert api.get(f"/webhooks/{shown['id']}") == {**shown, "secret": {"set": True}}


def test_the_defaults_of_the_api_are_those_of_the_model() -> None:
    by_model = WebhookEndpoint()
    by_schema = schemas.WebhookIn.model_validate({"name": "x", "url": "y"}).model_dump()
    for name in (*services.PLAIN_FIELDS[1:], *services.TLS_FIELDS):
        assert by_schema[name] == getattr(by_model, name), name


def test_the_secret_is_returned_once_and_the_url_masked(api: Api) -> None:
    shown = create(api)
    assert shown["secret"] == stored().secret
    for path in (f"/webhooks/{shown['id']}", "/webhooks"):
        text = api.send("GET", path).content.decode()
        assert shown["secret"] not in text and "T0P-SECRET" not in text
        assert "http://127.0.0.1:9/" in text


def test_secret_settings_are_only_shown_as_set(api: Api) -> None:
    given = {"headers": "X-A: 1", "secret_headers": "Authorization: Bearer T0PSECRET"}
    shown = create(api, format="template", settings=given)
    assert shown["settings"] == {"headers": "X-A: 1", "secret_headers": {"set": True}}
    api("PATCH", f"/webhooks/{shown['id']}", {"settings": {"secret_headers": {"set": True}}})
    assert stored().settings == {"secret_headers": "Authorization: Bearer T0PSECRET"}


def test_every_field_can_be_set_and_is_returned(api: Api) -> None:
    given = {
        "name": "all", "format": "discord", "settings": {"username": "Monitor"},
        "events": ["program.*", "alert.firing"],
        "programs": [program().pk], "tags": ["prod"], "min_severity": "warning", "enabled": False,
        "conditions": {"attr": "data.exit_code", "op": "ne", "value": 0}, "retry_schedule": [5, 2.5, 60],
        "timeout_seconds": 5, "max_concurrency": 2, "rate_per_second": 0.5, "bundle_seconds": 30,
        "max_age_seconds": 600, "verify_tls": True, "ca_certificates": "",
    }  # fmt: skip
    shown = create(api, url=DISCORD, **given)
    assert {name: shown[name] for name in given} == given
    assert shown["secret"] is None


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"name": ""}, "name"),
        ({"name": None}, "name"),
        ({"name": "\x00"}, "name"),
        ({"url": "ftp://example.com"}, "url"),
        ({"url": 5}, "url"),
        ({"url": "http://169.254.169.254/"}, "url"),
        ({"url": {"set": True}}, "url"),
        ({"url": {"set": False}}, "url"),
        ({"url": "https://••••••"}, "url"),
        ({"url": "http://[::1"}, "url"),
        ({"format": "pigeon"}, "format"),
        ({"format": "../standard"}, "format"),
        ({"settings": {"no": "such"}}, "settings"),
        ({"settings": []}, "settings"),
        ({"format": "telegram", "url": "https://api.telegram.org/bot1:abc"}, "settings"),
        ({"format": "template", "settings": {"body": "$NIX"}}, "settings"),
        ({"format": "template", "settings": {"headers": "X: \x00"}}, "settings"),
        ({"events": []}, "events"),
        ({"events": "program.*"}, "events"),
        ({"events": ["*.crashed"]}, "events"),
        ({"events": ["program.*", "progam.crashed"]}, "events"),
        ({"events": ["webhook.test"]}, "events"),
        ({"programs": ["web"]}, "programs"),
        ({"programs": [4711]}, "programs"),
        ({"programs": [10**30]}, "programs"),
        ({"tags": [""]}, "tags"),
        ({"min_severity": "panic"}, "min_severity"),
        ({"conditions": {"attr": "a", "op": "regex", "value": ".*"}}, "conditions"),
        ({"conditions": {"attr": "a", "value": {"deep": [[[]]]}}}, "conditions"),
        ({"conditions": {"attr": "a", "value": "\x00"}}, "conditions"),
        ({"conditions": []}, "conditions"),
        ({"enabled": "yes"}, "enabled"),
        ({"retry_schedule": [0]}, "retry_schedule"),
        ({"retry_schedule": ["5"]}, "retry_schedule"),
        ({"retry_schedule": [True]}, "retry_schedule"),
        ({"timeout_seconds": 31}, "timeout_seconds"),
        ({"timeout_seconds": "15"}, "timeout_seconds"),
        ({"max_concurrency": 0}, "max_concurrency"),
        ({"max_concurrency": 10**30}, "max_concurrency"),
        ({"rate_per_second": 0}, "rate_per_second"),
        ({"bundle_seconds": -1}, "bundle_seconds"),
        ({"max_age_seconds": 0}, "max_age_seconds"),
        ({"max_age_seconds": 2**62}, "max_age_seconds"),
        ({"ca_certificates": "none"}, "ca_certificates"),
        ({"id": 5}, "id"),
        ({"encrypted_url": "x"}, "encrypted_url"),
        ({"connect_failures": 3}, "connect_failures"),
        ({"secret": "whsec_mine"}, "secret"),
    ],
)
def test_invalid_values_are_refused_with_their_field(api: Api, change: dict[str, Any], field: str) -> None:
    status, body = api("POST", "/webhooks", {"name": "ops", "url": URL, **change})
    assert status == 422, body
    assert any(found == field or found.startswith(f"{field}.") for found in fields_of(body)), body
    assert not WebhookEndpoint.objects.exists()


def test_names_are_unique(api: Api) -> None:
    create(api)
    status, body = api("POST", "/webhooks", {"name": "ops", "url": URL})
    assert (status, fields_of(body)) == (422, {"name"})


def test_patch_changes_given_fields_and_put_replaces_all(api: Api) -> None:
    pk = create(api, min_severity="error", tags=["prod"])["id"]
    assert api("PATCH", f"/webhooks/{pk}", {"rate_per_second": 2})[1]["tags"] == ["prod"]
    status, shown = api("PUT", f"/webhooks/{pk}", {"name": "ops", "url": {"set": True}})
    assert (status, shown["tags"], shown["min_severity"], shown["rate_per_second"]) == (200, [], "info", 10)
    assert stored().url == URL


def test_a_response_can_be_sent_back_unchanged(api: Api) -> None:
    pk = create(api)["id"]
    shown = api.get(f"/webhooks/{pk}")
    given = {name: shown[name] for name in schemas.WebhookIn.model_fields if name in shown}
    before = stored()
    status, answer = api("PUT", f"/webhooks/{pk}", given)
    assert status == 200, answer
    assert (stored().url, stored().secret) == (before.url, before.secret)
    assert {**answer, "revision": 0} == {**shown, "revision": 0}


def test_changing_to_a_signing_format_creates_a_secret(api: Api) -> None:
    pk = create(api, format="discord", url=DISCORD)["id"]
    assert api("PATCH", f"/webhooks/{pk}", {"format": "standard"})[1]["secret"].startswith("whsec_")


def test_enabling_requires_a_decision_about_pending_deliveries(api: Api) -> None:
    row = endpoint()
    record_event("agent.started")
    services.disable_endpoint(row, reason="enough", cancel_pending=False)
    status, body = api("PATCH", f"/webhooks/{row.pk}", {"enabled": True})
    assert (status, fields_of(body)) == (422, {"resume"})
    status, shown = api("PATCH", f"/webhooks/{row.pk}", {"enabled": True, "resume": True})
    assert (status, shown["enabled"], shown["disabled_reason"]) == (200, True, "")
    assert WebhookDelivery.objects.get().state == "pending"


def test_removing_an_endpoint_removes_its_deliveries(api: Api) -> None:
    pk = create(api, events=["*"])["id"]
    record_event("agent.started")
    assert api("DELETE", f"/webhooks/{pk}") == (204, None)
    assert api("GET", f"/webhooks/{pk}")[0] == 404
    assert not WebhookDelivery.objects.exists()


def test_rotating_returns_the_new_secret_and_keeps_the_old_one_for_a_day(api: Api) -> None:
    shown = create(api)
    status, answer = api("POST", f"/webhooks/{shown['id']}/rotate")
    assert (status, answer["secret"]) == (200, stored().secret)
    assert stored().old_secrets[0].secret == shown["secret"]
    assert api.get(f"/webhooks/{shown['id']}")["old_secret_until"] == answer["old_secret_until"]


def test_unsigned_formats_have_no_secret_to_rotate(api: Api) -> None:
    pk = create(api, format="discord", url=DISCORD)["id"]
    assert api("POST", f"/webhooks/{pk}/rotate")[0] == 409


def test_the_audit_trail_has_actors_and_no_secrets(api: Api) -> None:
    pk = create(api)["id"]
    api("PATCH", f"/webhooks/{pk}", {"url": f"{URL}-2"})
    api("POST", f"/webhooks/{pk}/rotate")
    api("DELETE", f"/webhooks/{pk}")
    rows = AuditEntry.objects.filter(action__startswith="webhook.").order_by("pk")
    assert [row.action for row in rows] == [
        "webhook.created", "webhook.changed", "webhook.secret_rotated", "webhook.removed",
    ]  # fmt: skip
    for row in rows:
        assert row.actor.endswith("(token test)") and row.data["token_prefix"].startswith("pm_")
        assert "T0P-SECRET" not in str(row.data) and "whsec_" not in str(row.data)


def test_only_superusers_may_disable_certificate_verification(api: Api) -> None:
    status, body = api("POST", "/webhooks", {"name": "ops", "url": URL, "verify_tls": False})
    assert (status, "superuser" in body["detail"]) == (403, True)


def test_lists_are_filtered_sorted_and_paginated(api: Api) -> None:
    create(api, name="b")
    create(api, name="a", format="discord", url=DISCORD, enabled=False)
    create(api, name="c")
    assert [row["name"] for row in api.get("/webhooks")["items"]] == ["a", "b", "c"]
    assert api.get("/webhooks?ordering=-name&per_page=2&fields=name,condition&enabled=true") == {
        "items": [{"name": "c", "condition": "idle"}, {"name": "b", "condition": "idle"}],
        "count": 2,
        "page": 1,
        "per_page": 2,
    }
    assert [row["name"] for row in api.get("/webhooks?format=discord")["items"]] == ["a"]
    assert [row["name"] for row in api.get("/webhooks?search=B")["items"]] == ["b"]


@pytest.mark.parametrize(
    "query",
    ["ordering=url", "ordering=encrypted_url", "fields=encrypted_secret", "enabled=maybe", "per_page=201", "x=1"],
)
def test_a_list_refuses_invalid_parameters(api: Api, query: str) -> None:
    assert api("GET", f"/webhooks?{query}")[0] == 422


def test_the_number_of_queries_of_a_list_is_constant(api: Api, django_assert_max_num_queries: Any) -> None:
    for number in range(6):
        create(api, name=f"ops {number}")
    with django_assert_max_num_queries(5):  # the token's two, its use, and the count and the rows
        assert len(api.get("/webhooks")["items"]) == 6


def test_an_endpoint_that_cannot_be_decrypted_is_still_listed(api: Api) -> None:
    create(api)
    WebhookEndpoint.objects.update(encrypted_url="gone", encrypted_settings="gone")
    (shown,) = api.get("/webhooks")["items"]
    assert (shown["url"], shown["settings"]) == ("••••••", {})
