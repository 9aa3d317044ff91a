"""The list, the page of an endpoint, its actions, and who may use them."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.messages import get_messages
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from core.models import AuditEntry
from programs.models import ProgramEvent
from webhooks import services
from webhooks.models import WebhookDelivery, WebhookEndpoint, WebhookMute
from webhooks.tests import rig

from .conftest import DISCORD, HOOK, LIST, LOG, MUTES, MakeDelivery, State, filled, text_of


def page_of(endpoint: WebhookEndpoint, action: str = "change") -> str:
    return f"{LIST}{endpoint.pk}/{action}/"


def said(response: Any) -> str:
    return " ".join(str(message) for message in get_messages(response.wsgi_request))


def queries(client: Client, address: str) -> int:
    """Of the second request: the first may fill caches."""
    client.get(address)
    with CaptureQueriesContext(connection) as asked:
        assert client.get(address).status_code == 200
    return len(asked)


# --- The list and the page ------------------------------------------------------------------------------


def test_the_number_of_queries_of_the_list_is_constant(admin: Client, delivery: MakeDelivery) -> None:
    delivery()
    few = queries(admin, LIST)
    for number in range(20):
        rig.endpoint(HOOK, f"e{number}")
    for _ in range(10):
        delivery(State.FAILED, status=500, error="answered 500")
    services.mute(actor="test", program=rig.program())
    assert queries(admin, LIST) == few <= 14


def test_the_number_of_queries_of_the_page_is_constant(viewer: Client, delivery: MakeDelivery) -> None:
    address = page_of(delivery().endpoint)
    few = queries(viewer, address)
    for _ in range(10):
        delivery(State.EXHAUSTED, status=503, error="answered 503")
    assert queries(viewer, address) == few


def test_a_row_shows_the_health_of_the_endpoint(
    viewer: Client, ops: WebhookEndpoint, delivery: MakeDelivery
) -> None:
    for _ in range(3):
        delivery()
    delivery(State.EXHAUSTED, status=500, error="answered 500", duration_ms=1500)
    delivery(State.PENDING)
    WebhookEndpoint.objects.update(last_error="answered <500>", failing_since=timezone.now())
    page = text_of(viewer.get(LIST))
    for wanted in ("Signed JSON", "failing", "answered &lt;500&gt;", "75.0 %", "1.5 s", 'class="strip"'):
        assert wanted in page
    assert 'aria-label="Last 24 hours: 3 delivered, 1 pending, 1 failed"' in page


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"enabled": False}, "disabled"),
        ({"enabled": False, "disabled_reason": "five days without success"}, "disabled automatically"),
        (
            {"connect_failures": 5, "last_error": "No connection"},
            "unreachable, one probe a minute: No connection",
        ),
        ({"paused_until": timezone.now() + timedelta(hours=1)}, "the receiver asked to wait until"),
        ({}, "nothing sent yet"),
    ],
)
def test_the_status_badge_has_name_and_reason(
    viewer: Client, ops: WebhookEndpoint, columns: dict[str, Any], words: str
) -> None:
    WebhookEndpoint.objects.update(**columns)
    assert words in text_of(viewer.get(LIST)).split("result_list")[1]


def test_only_a_mute_for_all_programs_is_shown_in_the_list(viewer: Client, ops: WebhookEndpoint) -> None:
    services.mute(actor="test", endpoint=ops, program=rig.program())
    assert "muted" not in text_of(viewer.get(LIST)).split("result_list")[1]
    services.mute(actor="test", endpoint=ops, ends_at=timezone.now() + timedelta(hours=1), reason="backup")
    row = text_of(viewer.get(LIST)).split("result_list")[1]
    assert "muted" in row and "backup" in row


def test_an_empty_list_says_how_to_add_an_endpoint(admin: Client, viewer: Client) -> None:
    assert "Add an endpoint" in text_of(admin.get(LIST))
    assert "An administrator can add the first endpoint." in text_of(viewer.get(LIST))


def test_the_page_shows_the_latest_deliveries(viewer: Client, delivery: MakeDelivery) -> None:
    row = delivery(State.EXHAUSTED, status=500, error="answered <500>", error_class="status")
    page = text_of(viewer.get(page_of(row.endpoint)))
    for wanted in ("answered &lt;500&gt;", "crashed", "35 ms", "exhausted"):
        assert wanted in page


def test_an_uninstalled_format_breaks_no_page(admin: Client, ops: WebhookEndpoint) -> None:
    WebhookEndpoint.objects.update(format="pigeon")
    assert "pigeon" in text_of(admin.get(LIST))
    assert admin.get(page_of(ops)).status_code == 200


# --- Who may do what ------------------------------------------------------------------------------------


OPERATE = ("test", "mute", "catch-up")
ADMINISTER = ("switch-on", "switch-off", "rotate", "preview")


@pytest.mark.parametrize("action", [*OPERATE, *ADMINISTER])
def test_viewers_cannot_use_actions(viewer: Client, ops: WebhookEndpoint, action: str) -> None:
    for ask in (viewer.get, viewer.post):
        assert ask(page_of(ops, action)).status_code == 403
    assert f"/{action}/" not in text_of(viewer.get(page_of(ops)))


@pytest.mark.parametrize("action", [*ADMINISTER, "delete"])
def test_operators_cannot_use_actions_of_administrators(
    operator: Client, ops: WebhookEndpoint, action: str
) -> None:
    assert operator.post(page_of(ops, action)).status_code == 403
    assert f"/{ops.pk}/{action}/" not in text_of(operator.get(page_of(ops)))


def test_only_administrators_can_create_or_change_endpoints(
    viewer: Client, operator: Client, ops: WebhookEndpoint
) -> None:
    for client in (viewer, operator):
        assert client.get(LIST + "add/").status_code == 403
        assert client.post(LIST + "add/", filled(name="mine")).status_code == 403
        assert client.post(page_of(ops), filled(name="mine")).status_code == 403
        chosen = {"action": "switch_off_selected", "_selected_action": [ops.pk]}
        client.post(LIST, chosen)
    assert list(WebhookEndpoint.objects.values_list("name", "enabled")) == [("ops", True)]


def test_anonymous_users_are_redirected_to_the_login_page(ops: WebhookEndpoint, delivery: MakeDelivery) -> None:
    row = delivery()
    for address in (
        LIST,
        page_of(ops),
        page_of(ops, "test"),
        LOG,
        f"{LOG}{row.pk}/progress/",
        MUTES,
        MUTES + "next/",
    ):
        assert Client().post(address).status_code == 302
    assert ProgramEvent.objects.filter(type="webhook.test").count() == 0


@pytest.mark.parametrize("action", ["test", "mute", "switch-off", "rotate"])
def test_get_requests_change_nothing(admin: Client, ops: WebhookEndpoint, action: str) -> None:
    before = WebhookEndpoint.objects.values().get()
    assert admin.get(page_of(ops, action)).status_code in (200, 302)
    assert WebhookEndpoint.objects.values().get() == before
    assert not WebhookDelivery.objects.exists() and not WebhookMute.objects.exists()


@pytest.mark.parametrize("action", ["test", "mute", "switch-off", "rotate", "catch-up"])
def test_a_post_without_the_csrf_token_is_refused(visitor: Any, ops: WebhookEndpoint, action: str) -> None:
    from core.access import Role

    client = visitor(Role.ADMIN, enforce_csrf_checks=True)
    assert client.post(page_of(ops, action)).status_code == 403


# --- Actions --------------------------------------------------------------------------------------------


def test_a_test_is_queued_and_its_progress_shown(operator: Client, ops: WebhookEndpoint) -> None:
    answer = operator.post(page_of(ops, "test"), headers={"accept": "application/json"})
    row = WebhookDelivery.objects.get()
    assert (row.endpoint, row.next_trigger, row.event.actor) == (ops, "test", "operate-person")
    assert answer.json()["progress"] == f"{LOG}{row.pk}/progress/"
    assert "Sending…" in text_of(operator.get(answer.json()["progress"]))
    assert operator.post(page_of(ops, "test"))["Location"].startswith(LOG)


def test_a_disabled_endpoint_cannot_be_tested(operator: Client, ops: WebhookEndpoint) -> None:
    services.save_endpoint({"enabled": False}, endpoint=ops, actor="test")
    answer = operator.post(page_of(ops, "test"), headers={"accept": "application/json"})
    assert answer.status_code == 409
    assert "disabled" in answer.json()["message"]
    assert "disabled" in text_of(operator.get(page_of(ops))).split("data-test")[1].split(">")[0]


def test_an_endpoint_is_muted_for_an_hour_and_unmuted(operator: Client, ops: WebhookEndpoint) -> None:
    operator.post(page_of(ops, "mute"), {"hours": "1"})
    mute = WebhookMute.objects.get()
    assert mute.endpoint == ops and mute.ends_at is not None
    assert timedelta(minutes=59) < mute.ends_at - timezone.now() <= timedelta(hours=1)
    assert "Remove mute" in text_of(operator.get(page_of(ops)))
    operator.post(f"{MUTES}{mute.pk}/lift/")
    assert not WebhookMute.objects.exists()


@pytest.mark.parametrize("hours", ["", "0", "-1", "x", "²", "9" * 30, "0000000019999999"])
def test_invalid_hours_mute_nothing(operator: Client, ops: WebhookEndpoint, hours: str) -> None:
    assert "number of hours" in said(operator.post(page_of(ops, "mute"), {"hours": hours}))
    assert not WebhookMute.objects.exists()


@pytest.mark.parametrize(("choice", "state"), [("resume", "pending"), ("cancel", "cancelled")])
def test_enable_requires_a_decision_about_pending_deliveries(
    admin: Client, ops: WebhookEndpoint, delivery: MakeDelivery, choice: str, state: str
) -> None:
    delivery(State.PENDING)
    admin.post(page_of(ops, "switch-off"))
    assert not WebhookEndpoint.objects.get().enabled
    assert "1 message is waiting" in text_of(admin.get(page_of(ops, "switch-on")))
    admin.post(page_of(ops, "switch-on"), {"pending": choice})
    assert WebhookEndpoint.objects.get().enabled
    assert WebhookDelivery.objects.get().state == state


def test_many_endpoints_are_disabled_and_enabled(admin: Client) -> None:
    chosen = [rig.endpoint(HOOK, name).pk for name in ("a", "b")]
    assert "2 endpoints were disabled" in said(
        admin.post(LIST, {"action": "switch_off_selected", "_selected_action": chosen})
    )
    form = {"action": "switch_on_selected", "_selected_action": chosen}
    page = admin.post(LIST, form)
    assert "Enable 2 endpoints?" in text_of(page)
    assert not WebhookEndpoint.objects.filter(enabled=True).exists()
    admin.post(LIST, {**form, "confirmed": "yes"})
    assert WebhookEndpoint.objects.filter(enabled=True).count() == 2


def test_a_rotated_secret_is_shown_once_and_the_old_one_stays_valid(admin: Client, ops: WebhookEndpoint) -> None:
    assert "24 hours" in text_of(admin.get(page_of(ops, "rotate")))
    answer = admin.post(page_of(ops, "rotate"))
    after = WebhookEndpoint.objects.get()
    assert after.secret != ops.secret and after.old_secrets[0].secret == ops.secret
    assert after.secret in text_of(answer) and ops.secret not in text_of(answer)
    assert "no-store" in answer["Cache-Control"]
    page = text_of(admin.get(page_of(ops)))
    assert "also signed with the previous secret" in page
    assert after.secret not in page and ops.secret not in page


def test_chats_have_no_secret_to_rotate(admin: Client) -> None:
    chat = rig.endpoint(DISCORD, format="discord")
    assert admin.post(page_of(chat, "rotate")).status_code == 404


def test_the_recovery_page_counts_before_it_sends(
    operator: Client, ops: WebhookEndpoint, delivery: MakeDelivery
) -> None:
    delivery(State.EXHAUSTED, status=500)
    delivery(State.DELIVERED)
    missed = rig.record_event("program.fatal")
    WebhookDelivery.objects.filter(event=missed).delete()
    page = operator.get(page_of(ops, "catch-up") + "?span=6")
    assert (page.context["failed"], page.context["missing"]) == (1, 1)
    assert WebhookDelivery.objects.filter(state=State.PENDING).count() == 0
    since = page.context["since"].isoformat()
    for what in ("failed", "missing"):
        answer = operator.post(page_of(ops, "catch-up"), {"what": what, "since": since})
        assert "1 delivery was queued" in said(answer)
    assert WebhookDelivery.objects.filter(state=State.PENDING).count() == 2


@pytest.mark.parametrize("query", ["?span=5", "?moment=yesterday", "?moment=0001-01-01", "?moment=9999-99-99 1:1"])
def test_an_invalid_time_counts_nothing(operator: Client, ops: WebhookEndpoint, query: str) -> None:
    page = operator.get(page_of(ops, "catch-up") + query)
    assert page.status_code == 200
    assert "since" not in page.context


def test_invalid_recovery_forms_send_nothing(
    operator: Client, ops: WebhookEndpoint, delivery: MakeDelivery
) -> None:
    delivery(State.EXHAUSTED, status=500)
    now = timezone.now().isoformat()
    for form in ({}, {"what": "failed"}, {"what": "all", "since": now}, {"what": "failed", "since": "x"}):
        assert "Choose what to send" in said(operator.post(page_of(ops, "catch-up"), form))
    assert WebhookDelivery.objects.get().state == State.EXHAUSTED


def test_removing_shows_a_count_and_writes_one_audit_entry(
    admin: Client, ops: WebhookEndpoint, delivery: MakeDelivery
) -> None:
    delivery()
    assert "eliveries in the log: 1" in text_of(admin.get(page_of(ops, "delete")))
    admin.post(page_of(ops, "delete"), {"post": "yes"})
    assert not WebhookEndpoint.objects.exists()
    assert list(AuditEntry.objects.filter(target="ops").values_list("action", flat=True)) == [
        "webhook.removed",
        "webhook.created",
    ]


# --- Preview --------------------------------------------------------------------------------------------


def test_a_preview_of_the_unsaved_form_shows_the_last_matching_event(admin: Client) -> None:
    rig.record_event("program.crashed", rig.program("<shop>"), exit_code=3)
    rig.record_event("program.started", rig.program("other"))
    posted = filled(name="", format="discord", discord__url=DISCORD, events=["program.crashed"])
    page = text_of(admin.post(LIST + "add/preview/", posted, headers={"x-requested-with": "fetch"}))
    assert "Latest event that this endpoint would receive" in page
    assert "&lt;shop&gt; crashed: exit code 3" in page
    assert "T0P-SECRET" not in page and "<html" not in page
    assert not WebhookEndpoint.objects.exists()


def test_a_preview_uses_stored_values_for_empty_fields(admin: Client) -> None:
    settings = {"secret_headers": "X-Key: T0P-SECRET-KEY", "body": '{"said": "$SUMMARY"}'}
    endpoint = rig.endpoint(HOOK, format="template", settings=settings)
    from .conftest import form_of

    page = text_of(admin.post(page_of(endpoint, "preview"), form_of(admin, page_of(endpoint))))
    assert "X-Key" in page and "example crashed" in page and "This is an example" in page
    assert "T0P-SECRET" not in page


def test_a_preview_lists_missing_fields(admin: Client) -> None:
    posted = filled(format="telegram", telegram__url="")
    page = text_of(admin.post(LIST + "add/preview/", posted))
    assert "URL: This field is required." in page and "Chat: This field is required." in page


# --- The banner -----------------------------------------------------------------------------------------


def test_every_page_shows_automatically_disabled_endpoints(viewer: Client, ops: WebhookEndpoint) -> None:
    assert "disabled automatically" not in text_of(viewer.get("/admin/"))
    services.disable_endpoint(ops, reason="answered 410: gone", cancel_pending=True)
    for address in ("/admin/", "/admin/programs/program/", LOG):
        page = text_of(viewer.get(address))
        assert 'class="banner"' in page and "answered 410: gone" in page
    services.save_endpoint({"enabled": True}, endpoint=WebhookEndpoint.objects.get(), actor="test")
    assert 'class="banner"' not in text_of(viewer.get("/admin/"))
