"""The list, the page of an endpoint, its verbs, and who may press them."""

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


def page_of(endpoint: WebhookEndpoint, verb: str = "change") -> str:
    return f"{LIST}{endpoint.pk}/{verb}/"


def said(response: Any) -> str:
    return " ".join(str(message) for message in get_messages(response.wsgi_request))


def queries(client: Client, address: str) -> int:
    """Of the second visit: the first may fill what the process remembers."""
    client.get(address)
    with CaptureQueriesContext(connection) as asked:
        assert client.get(address).status_code == 200
    return len(asked)


# --- The list and the page ------------------------------------------------------------------------------


def test_the_list_asks_the_database_as_often_for_many_endpoints_as_for_one(
    admin: Client, delivery: MakeDelivery
) -> None:
    delivery()
    few = queries(admin, LIST)
    for number in range(20):
        rig.endpoint(HOOK, f"e{number}")
    for _ in range(10):
        delivery(State.FAILED, status=500, error="answered 500")
    services.mute(actor="test", program=rig.program())
    assert queries(admin, LIST) == few <= 14


def test_the_page_asks_as_often_for_many_deliveries_as_for_one(viewer: Client, delivery: MakeDelivery) -> None:
    address = page_of(delivery().endpoint)
    few = queries(viewer, address)
    for _ in range(10):
        delivery(State.EXHAUSTED, status=503, error="answered 503")
    assert queries(viewer, address) == few


def test_a_row_says_how_the_endpoint_does(viewer: Client, ops: WebhookEndpoint, delivery: MakeDelivery) -> None:
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
        ({"enabled": False}, "off"),
        ({"enabled": False, "disabled_reason": "five days without success"}, "disabled automatically"),
        (
            {"connect_failures": 5, "last_error": "No connection"},
            "cannot be reached, one try a minute: No connection",
        ),
        ({"paused_until": timezone.now() + timedelta(hours=1)}, "the receiver asked for it, until"),
        ({}, "nothing sent yet"),
    ],
)
def test_a_state_is_told_in_words(
    viewer: Client, ops: WebhookEndpoint, columns: dict[str, Any], words: str
) -> None:
    WebhookEndpoint.objects.update(**columns)
    assert words in text_of(viewer.get(LIST)).split("result_list")[1]


def test_a_muted_endpoint_says_until_when_and_one_muted_about_a_program_does_not(
    viewer: Client, ops: WebhookEndpoint
) -> None:
    services.mute(actor="test", endpoint=ops, program=rig.program())
    assert "muted" not in text_of(viewer.get(LIST)).split("result_list")[1]
    services.mute(actor="test", endpoint=ops, ends_at=timezone.now() + timedelta(hours=1), reason="backup")
    row = text_of(viewer.get(LIST)).split("result_list")[1]
    assert "muted" in row and "backup" in row


def test_an_empty_list_says_how_to_begin(admin: Client, viewer: Client) -> None:
    assert "Add an endpoint" in text_of(admin.get(LIST))
    assert "An administrator can add the first endpoint." in text_of(viewer.get(LIST))


def test_the_page_shows_the_latest_deliveries(viewer: Client, delivery: MakeDelivery) -> None:
    row = delivery(State.EXHAUSTED, status=500, error="answered <500>", error_class="status")
    page = text_of(viewer.get(page_of(row.endpoint)))
    for wanted in ("answered &lt;500&gt;", "crashed", "35 ms", "exhausted"):
        assert wanted in page


def test_a_format_that_is_not_installed_any_more_breaks_no_page(admin: Client, ops: WebhookEndpoint) -> None:
    WebhookEndpoint.objects.update(format="pigeon")
    assert "pigeon" in text_of(admin.get(LIST))
    assert admin.get(page_of(ops)).status_code == 200


# --- Who may do what ------------------------------------------------------------------------------------


OPERATE = ("test", "mute", "catch-up")
ADMINISTER = ("switch-on", "switch-off", "rotate", "preview")


@pytest.mark.parametrize("verb", [*OPERATE, *ADMINISTER])
def test_a_viewer_may_press_nothing(viewer: Client, ops: WebhookEndpoint, verb: str) -> None:
    for ask in (viewer.get, viewer.post):
        assert ask(page_of(ops, verb)).status_code == 403
    assert f"/{verb}/" not in text_of(viewer.get(page_of(ops)))


@pytest.mark.parametrize("verb", [*ADMINISTER, "delete"])
def test_an_operator_may_not_define(operator: Client, ops: WebhookEndpoint, verb: str) -> None:
    assert operator.post(page_of(ops, verb)).status_code == 403
    assert f"/{ops.pk}/{verb}/" not in text_of(operator.get(page_of(ops)))


def test_only_administrators_make_or_change_endpoints(
    viewer: Client, operator: Client, ops: WebhookEndpoint
) -> None:
    for client in (viewer, operator):
        assert client.get(LIST + "add/").status_code == 403
        assert client.post(LIST + "add/", filled(name="mine")).status_code == 403
        assert client.post(page_of(ops), filled(name="mine")).status_code == 403
        chosen = {"action": "switch_off_selected", "_selected_action": [ops.pk]}
        client.post(LIST, chosen)
    assert list(WebhookEndpoint.objects.values_list("name", "enabled")) == [("ops", True)]


def test_strangers_are_sent_to_the_log_in_page(ops: WebhookEndpoint, delivery: MakeDelivery) -> None:
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


@pytest.mark.parametrize("verb", ["test", "mute", "switch-off", "rotate"])
def test_a_link_changes_nothing(admin: Client, ops: WebhookEndpoint, verb: str) -> None:
    before = WebhookEndpoint.objects.values().get()
    assert admin.get(page_of(ops, verb)).status_code in (200, 302)
    assert WebhookEndpoint.objects.values().get() == before
    assert not WebhookDelivery.objects.exists() and not WebhookMute.objects.exists()


@pytest.mark.parametrize("verb", ["test", "mute", "switch-off", "rotate", "catch-up"])
def test_a_post_without_the_csrf_token_is_refused(visitor: Any, ops: WebhookEndpoint, verb: str) -> None:
    from core.access import Role

    client = visitor(Role.ADMIN, enforce_csrf_checks=True)
    assert client.post(page_of(ops, verb)).status_code == 403


# --- Verbs ----------------------------------------------------------------------------------------------


def test_a_test_is_sent_and_followed(operator: Client, ops: WebhookEndpoint) -> None:
    answer = operator.post(page_of(ops, "test"), headers={"accept": "application/json"})
    row = WebhookDelivery.objects.get()
    assert (row.endpoint, row.next_trigger, row.event.actor) == (ops, "test", "operate-person")
    assert answer.json()["progress"] == f"{LOG}{row.pk}/progress/"
    assert "Sending…" in text_of(operator.get(answer.json()["progress"]))
    assert operator.post(page_of(ops, "test"))["Location"].startswith(LOG)


def test_what_is_switched_off_cannot_be_tested_and_says_so(operator: Client, ops: WebhookEndpoint) -> None:
    services.save_endpoint({"enabled": False}, endpoint=ops, actor="test")
    answer = operator.post(page_of(ops, "test"), headers={"accept": "application/json"})
    assert answer.status_code == 409
    assert "switched off" in answer.json()["message"]
    assert "disabled" in text_of(operator.get(page_of(ops))).split("data-test")[1].split(">")[0]


def test_it_is_muted_for_an_hour_and_the_mute_lifted(operator: Client, ops: WebhookEndpoint) -> None:
    operator.post(page_of(ops, "mute"), {"hours": "1"})
    mute = WebhookMute.objects.get()
    assert mute.endpoint == ops and mute.ends_at is not None
    assert timedelta(minutes=59) < mute.ends_at - timezone.now() <= timedelta(hours=1)
    assert "Lift mute" in text_of(operator.get(page_of(ops)))
    operator.post(f"{MUTES}{mute.pk}/lift/")
    assert not WebhookMute.objects.exists()


@pytest.mark.parametrize("hours", ["", "0", "-1", "x", "²", "9" * 30, "0000000019999999"])
def test_nonsense_mutes_nothing(operator: Client, ops: WebhookEndpoint, hours: str) -> None:
    assert "how many hours" in said(operator.post(page_of(ops, "mute"), {"hours": hours}))
    assert not WebhookMute.objects.exists()


@pytest.mark.parametrize(("choice", "state"), [("resume", "pending"), ("cancel", "cancelled")])
def test_switching_on_asks_what_becomes_of_what_waits(
    admin: Client, ops: WebhookEndpoint, delivery: MakeDelivery, choice: str, state: str
) -> None:
    delivery(State.PENDING)
    admin.post(page_of(ops, "switch-off"))
    assert not WebhookEndpoint.objects.get().enabled
    assert "1 message is waiting" in text_of(admin.get(page_of(ops, "switch-on")))
    admin.post(page_of(ops, "switch-on"), {"pending": choice})
    assert WebhookEndpoint.objects.get().enabled
    assert WebhookDelivery.objects.get().state == state


def test_many_are_switched_off_and_on(admin: Client) -> None:
    chosen = [rig.endpoint(HOOK, name).pk for name in ("a", "b")]
    assert "2 endpoints are off" in said(
        admin.post(LIST, {"action": "switch_off_selected", "_selected_action": chosen})
    )
    form = {"action": "switch_on_selected", "_selected_action": chosen}
    page = admin.post(LIST, form)
    assert "Switch on 2 endpoints?" in text_of(page)
    assert not WebhookEndpoint.objects.filter(enabled=True).exists()
    admin.post(LIST, {**form, "confirmed": "yes"})
    assert WebhookEndpoint.objects.filter(enabled=True).count() == 2


def test_a_new_secret_is_shown_once_and_the_old_one_works_along(admin: Client, ops: WebhookEndpoint) -> None:
    assert "24 hours" in text_of(admin.get(page_of(ops, "rotate")))
    answer = admin.post(page_of(ops, "rotate"))
    after = WebhookEndpoint.objects.get()
    assert after.secret != ops.secret and after.old_secret == ops.secret
    assert after.secret in text_of(answer) and ops.secret not in text_of(answer)
    assert "no-store" in answer["Cache-Control"]
    page = text_of(admin.get(page_of(ops)))
    assert "also signed with the previous secret" in page
    assert after.secret not in page and ops.secret not in page


def test_chats_have_no_secret_to_rotate(admin: Client) -> None:
    chat = rig.endpoint(DISCORD, format="discord")
    assert admin.post(page_of(chat, "rotate")).status_code == 404


def test_catching_up_counts_before_it_sends(
    operator: Client, ops: WebhookEndpoint, delivery: MakeDelivery
) -> None:
    delivery(State.EXHAUSTED, status=500)
    delivery(State.DELIVERED)
    missed = rig.happen("program.fatal")
    WebhookDelivery.objects.filter(event=missed).delete()
    page = operator.get(page_of(ops, "catch-up") + "?span=6")
    assert (page.context["failed"], page.context["missing"]) == (1, 1)
    assert WebhookDelivery.objects.filter(state=State.PENDING).count() == 0
    since = page.context["since"].isoformat()
    for what in ("failed", "missing"):
        answer = operator.post(page_of(ops, "catch-up"), {"what": what, "since": since})
        assert "1 message is on its way" in said(answer)
    assert WebhookDelivery.objects.filter(state=State.PENDING).count() == 2


@pytest.mark.parametrize("query", ["?span=5", "?moment=yesterday", "?moment=0001-01-01", "?moment=9999-99-99 1:1"])
def test_nonsense_is_told_and_counts_nothing(operator: Client, ops: WebhookEndpoint, query: str) -> None:
    page = operator.get(page_of(ops, "catch-up") + query)
    assert page.status_code == 200
    assert "since" not in page.context


def test_nonsense_sends_nothing(operator: Client, ops: WebhookEndpoint, delivery: MakeDelivery) -> None:
    delivery(State.EXHAUSTED, status=500)
    now = timezone.now().isoformat()
    for form in ({}, {"what": "failed"}, {"what": "all", "since": now}, {"what": "failed", "since": "x"}):
        assert "Choose what is to be sent" in said(operator.post(page_of(ops, "catch-up"), form))
    assert WebhookDelivery.objects.get().state == State.EXHAUSTED


def test_removing_names_a_count_and_leaves_one_audit_row(
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


def test_the_unsaved_form_is_shown_with_the_last_event_it_would_be_told_of(admin: Client) -> None:
    rig.happen("program.crashed", rig.program("<shop>"), exit_code=3)
    rig.happen("program.started", rig.program("other"))
    posted = filled(name="", format="discord", discord__url=DISCORD, events=["program.crashed"])
    page = text_of(admin.post(LIST + "add/preview/", posted, headers={"x-requested-with": "fetch"}))
    assert "Latest event that this endpoint would receive" in page
    assert "&lt;shop&gt; crashed: exit code 3" in page
    assert "T0P-SECRET" not in page and "<html" not in page
    assert not WebhookEndpoint.objects.exists()


def test_a_preview_uses_what_is_stored_where_the_form_is_empty(admin: Client) -> None:
    settings = {"secret_headers": "X-Key: T0P-SECRET-KEY", "body": '{"said": "$SUMMARY"}'}
    endpoint = rig.endpoint(HOOK, format="template", settings=settings)
    from .conftest import form_of

    page = text_of(admin.post(page_of(endpoint, "preview"), form_of(admin, page_of(endpoint))))
    assert "X-Key" in page and "example crashed" in page and "This is an example" in page
    assert "T0P-SECRET" not in page


def test_a_preview_says_what_is_missing(admin: Client) -> None:
    posted = filled(format="telegram", telegram__url="")
    page = text_of(admin.post(LIST + "add/preview/", posted))
    assert "Address: This field is required." in page and "Chat: This field is required." in page


# --- The banner -----------------------------------------------------------------------------------------


def test_every_page_tells_of_an_endpoint_that_went_off_by_itself(viewer: Client, ops: WebhookEndpoint) -> None:
    assert "disabled automatically" not in text_of(viewer.get("/admin/"))
    services.switch_off(ops, reason="answered 410: gone", cancel_pending=True)
    for address in ("/admin/", "/admin/programs/program/", LOG):
        page = text_of(viewer.get(address))
        assert 'class="banner"' in page and "answered 410: gone" in page
    services.save_endpoint({"enabled": True}, endpoint=WebhookEndpoint.objects.get(), actor="test")
    assert 'class="banner"' not in text_of(viewer.get("/admin/"))
