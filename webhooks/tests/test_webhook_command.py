"""`manage.py webhook`: endpoints from a terminal."""

from __future__ import annotations

import json
import threading
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone

from core.cli.subcommand import Subcommand
from core.models import AuditEntry
from programs.tests.program_command import Done, command
from webhooks import services
from webhooks.management.commands.webhook import SUBCOMMANDS
from webhooks.models import WebhookDelivery, WebhookEndpoint, WebhookMute

from .api.rig import DISCORD, URL, stored
from .receiver import Receiver
from .rig import endpoint, program, record_event, send

CHAT = "https://api.telegram.org/bot123456:abc-DEF"


def webhook(*words: str, stdin: str = "", answers: str | None = None) -> Done:
    return command("webhook", *words, stdin=stdin, answers=answers)


@pytest.mark.parametrize("name", SUBCOMMANDS)
def test_every_subcommand_can_be_loaded_and_has_help(name: str) -> None:
    assert isinstance(SUBCOMMANDS[name].load(), Subcommand)
    assert SUBCOMMANDS[name].help


# --- Endpoints ------------------------------------------------------------------------------------------


@pytest.mark.django_db
def test_add_prints_the_secret_once() -> None:
    done = webhook(
        "add", "ops", URL, "--event", "program.crashed", "--event", "alert.*", "--min-severity", "warning"
    )
    row = stored()
    assert done.code == 0, done.err
    assert done.lines[1:] == [row.secret]
    assert (row.events, row.min_severity, row.url) == (["program.crashed", "alert.*"], "warning", URL)
    assert AuditEntry.objects.get(action="webhook.created").actor.endswith("(command line)")


@pytest.mark.django_db
def test_a_new_endpoint_gets_failures_and_alerts_by_default() -> None:
    assert webhook("add", "ops", URL).code == 0
    assert stored().events == ["program.crashed", "program.fatal", "program.unhealthy", "alert.*"]


@pytest.mark.django_db
def test_json_has_the_default_of_the_api() -> None:
    given = json.dumps({"name": "ops", "url": URL})
    assert webhook("add", "--json", "-", stdin=given).code == 0
    assert stored().events == ["program.*"]


@pytest.mark.django_db
def test_an_unknown_event_type_is_refused_with_a_suggestion() -> None:
    done = webhook("add", "ops", URL, "--event", "progam.crashed")
    assert (done.code, WebhookEndpoint.objects.count()) == (1, 0)
    assert "progam.crashed does not match any event type. Did you mean program.crashed?" in done.err


@pytest.mark.django_db
def test_the_url_can_be_read_from_stdin_or_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    assert webhook("add", "one", "-", stdin=f"{URL}\n").code == 0
    monkeypatch.setenv("HOOK", DISCORD)
    assert webhook("add", "two", "--url-env", "HOOK", "--format", "discord").code == 0
    assert [row.url for row in WebhookEndpoint.objects.order_by("name")] == [URL, DISCORD]
    assert webhook("add", "three", "--url-env", "NOT_SET").code == 1


@pytest.mark.django_db
def test_settings_programs_and_tags_are_options() -> None:
    web = program()
    words = ["--format", "telegram", "--set", "chat_id=@ops", "--set", "silent_below_error=true"]
    done = webhook("add", "ops", CHAT, *words, "--program", "web", "--tag", "prod", "--bundle-seconds", "30")
    row = stored()
    assert done.code == 0, done.err
    assert row.settings == {"chat_id": "@ops", "silent_below_error": True}
    assert (row.programs, row.tags, row.bundle_seconds) == ([web.pk], ["prod"], 30)


@pytest.mark.django_db
def test_an_endpoint_can_be_given_as_json(tmp_path: Path) -> None:
    file = tmp_path / "hook.json"
    file.write_text(json.dumps({"name": "ops", "url": URL, "tags": ["prod"]}))
    shown = webhook("add", "--json", str(file), "--min-severity", "error").json
    assert (shown["tags"], shown["min_severity"], shown["secret"]) == (["prod"], "error", stored().secret)


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["add", "ops"], 2, "Missing: url"),
        (["add", "ops", "ftp://x"], 1, "url: "),
        (["add", "ops", URL, "--format", "pigeon"], 1, "format: "),
        (["add", "ops", URL, "--set", "chat"], 2, "NAME=VALUE"),
        (["add", "ops", URL, "--program", "nobody"], 1, "no program nobody"),
        (["add", "--json", "/no/such/file"], 1, "Can't read"),
        (["show", "nobody"], 1, "There is no webhook nobody."),
        (["show", "9" * 30], 1, "There is no webhook"),
        (["deliveries", "-n", "0"], 2, "between 1 and"),
        (["redeliver", "msg_none"], 1, "There is no delivery msg_none."),
        (["unmute", "4711"], 1, "There is no mute 4711"),
        (["recover", "nobody", "--since", "soon"], 2, "isn't a time"),
        (["fly"], 2, "fly"),
    ],
)
def test_invalid_arguments_are_refused_with_a_message(words: list[str], code: int, said: str) -> None:
    done = webhook(*words)
    assert (done.code, said in done.err) == (code, True), done.err
    assert not WebhookEndpoint.objects.exists()


@pytest.mark.django_db
def test_invalid_json_is_refused() -> None:
    assert webhook("add", "--json", "-", stdin="{").code == 1
    assert webhook("add", "--json", "-", stdin="[]").code == 1
    assert (
        "Unknown field" in webhook("add", "--json", "-", stdin='{"name": "x", "url": "http://x.y/", "nix": 1}').err
    )


@pytest.mark.django_db
def test_enable_requires_a_decision_about_pending_deliveries() -> None:
    row = endpoint()
    record_event("agent.started")
    assert webhook("disable", "ops").out == "ops: disabled\n"
    asked = webhook("enable", "ops")
    assert (asked.code, "Pending deliveries: 1." in asked.err) == (1, True)
    assert webhook("enable", str(row.pk), "--resume").code == 0
    assert WebhookDelivery.objects.get().state == "pending"
    assert webhook("enable", "ops").out == "ops: already enabled\n"


@pytest.mark.django_db
def test_rotate_prints_the_new_secret() -> None:
    endpoint()
    assert webhook("rotate", "ops").lines == [stored().secret]


@pytest.mark.django_db
def test_remove_asks_for_confirmation_and_needs_yes_without_a_terminal() -> None:
    endpoint()
    assert webhook("remove", "ops").code == 1
    assert webhook("remove", "ops", answers="n\n").code == 1
    assert WebhookEndpoint.objects.exists()
    assert webhook("remove", "ops", "--yes").out == "ops: removed\n"
    assert not WebhookEndpoint.objects.exists()


# --- Reading --------------------------------------------------------------------------------------------


@pytest.mark.django_db
def test_list_shows_health_and_no_secrets() -> None:
    services.save_endpoint({"name": "ops", "url": URL, "events": ["*"]}, actor="tester")
    record_event("agent.started")
    done = webhook("list")
    assert done.lines[1].split()[:6] == ["ops", "standard", "idle", "-", "-", "1"]
    (shown,) = webhook("list", "--json").json
    assert (shown["health"]["counts"]["pending"], shown["secret"]) == (1, {"set": True})
    for text in (done.out, webhook("list", "--json").out, webhook("show", "ops").out):
        assert "T0P-SECRET" not in text and stored().secret not in text


@pytest.mark.django_db
def test_muting_everything_needs_confirmation() -> None:
    done = webhook("mute")
    assert (done.code, WebhookMute.objects.count()) == (1, 0)
    assert "Confirm it with" in done.err
    assert webhook("mute", "--everything").code == 0


@pytest.mark.django_db
def test_list_shows_mutes_and_their_end() -> None:
    endpoint()
    assert webhook("mute", "--program", program().name, "--for", "2h").code == 0
    assert "muted" not in webhook("list").out
    assert webhook("mute", "--until", "2099-01-02T03:04:00Z", "--reason", "moving").code == 0
    line = webhook("list").lines[1]
    assert line.split()[2] == "muted"
    assert line.endswith("until 2099-01-02 03:04 UTC: moving")


@pytest.mark.django_db
def test_show_formats_values_for_people() -> None:
    endpoint(min_severity="error", retry_schedule=[5, 2.5], bundle_seconds=0)
    shown = dict(line.split("  ", 1) for line in webhook("show", "ops").lines)
    found = {name.strip(): value.strip() for name, value in shown.items()}
    assert (found["enabled"], found["bundle_seconds"], found["retry_schedule"]) == ("yes", "0", "5, 2.5")
    assert (found["conditions"], found["secret"], found["timeout_seconds"]) == ("-", "(set)", "5")


@pytest.mark.django_db
def test_list_without_endpoints_says_how_to_add_one() -> None:
    done = webhook("list")
    assert (done.code, done.out, "webhook add" in done.err) == (0, "", True)


@pytest.mark.django_db
def test_deliveries_are_listed_with_results_and_filtered() -> None:
    endpoint()
    record_event("program.crashed", program())
    newest = WebhookDelivery.objects.get(event__type="program.crashed")
    WebhookDelivery.objects.filter(pk=newest.pk).update(state="cancelled", reason="muted: night")
    assert "Cancelled: muted: night" in webhook("deliveries", "ops").lines[1]
    assert [row["id"] for row in webhook("deliveries", "--state", "cancelled", "--json").json] == [newest.pk]
    assert len(webhook("deliveries", "-n", "1").lines) == 2
    assert webhook("deliveries", "--state", "dead").out == ""


@pytest.mark.django_db
def test_preview_shows_the_request_and_sends_nothing() -> None:
    endpoint()
    done = webhook("preview", "ops")
    assert done.lines[0] == "POST http://127.0.0.1:9/"
    assert "this is a sample" in done.err and '"program.crashed"' in done.out
    event = record_event("program.started", program())
    assert webhook("preview", "ops", "--event", event.uid, "--json").json["event"]["id"] == event.uid
    assert webhook("preview", "ops", "--event", "evt_none").code == 1


# --- Sending --------------------------------------------------------------------------------------------


@pytest.fixture
def jobs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs the worker once, as soon as a command waits for it."""
    done: list[bool] = []

    def sleep(seconds: float) -> None:
        if not done:
            done.append(True)
            thread = threading.Thread(target=send)
            thread.start()
            thread.join()

    monkeypatch.setattr("webhooks.delivery_wait.time.sleep", sleep)


@pytest.mark.usefixtures("outbox", "jobs")
@pytest.mark.parametrize(
    ("answer", "code", "said"), [(200, 0, "Delivered: answered 200"), (404, 1, "answered 404")]
)
def test_test_waits_for_the_response(receiver: Receiver, answer: int, code: int, said: str) -> None:
    endpoint(receiver.script("/hook", answer))
    done = webhook("test", "ops")
    assert (done.code, said in done.out) == (code, True), done.out


@pytest.mark.usefixtures("outbox", "jobs")
def test_redeliver_waits_for_the_response(receiver: Receiver) -> None:
    endpoint(receiver.url(), events=["agent.started"])
    record_event("agent.started")
    delivery = WebhookDelivery.objects.get()
    WebhookDelivery.objects.update(state="failed", next_attempt_at=None)
    done = webhook("redeliver", delivery.pk, "--json")
    assert (done.code, done.json[0]["state"]) == (0, "delivered")


@pytest.mark.django_db
def test_an_unsent_test_fails_with_the_reason() -> None:
    endpoint()
    done = webhook("test", "ops", "--timeout", "0")
    assert (done.code, "sends no heartbeat" in done.out) == (1, True)


@pytest.mark.django_db
def test_a_disabled_endpoint_cannot_be_tested() -> None:
    endpoint(enabled=False)
    done = webhook("test", "ops")
    assert (done.code, "is disabled" in done.err) == (1, True)


@pytest.mark.django_db
def test_recover_counts_and_sends() -> None:
    record_event("agent.started")
    endpoint(events=["agent.started"])
    record_event("agent.started")
    WebhookDelivery.objects.update(state="exhausted")
    assert webhook("recover", "ops", "--since", "1h", "--dry-run").out == "ops: 1 failed message would be sent\n"
    assert webhook("recover", "ops", "--since", "1h", "--missing", "--dry-run", "--json").json["count"] == 1
    assert webhook("recover", "ops", "--since", "1h").out == "ops: 1 failed message will be sent\n"
    assert webhook("recover", "ops", "--since", "1h", "--missing").code == 0
    assert WebhookDelivery.objects.filter(state="pending").count() == 2


# --- Mutes ----------------------------------------------------------------------------------------------


@pytest.mark.django_db
def test_times_are_local_with_their_time_zone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Asia/Seoul")
    endpoint()
    record_event()
    WebhookDelivery.objects.update(created_at="2026-11-23T12:00:00Z")
    assert "2026-11-23 21:00:00 KST" in webhook("deliveries").out
    assert webhook("mute", "ops", "--until", "2099-01-01T00:00:00Z").out.count("KST") == 2


@pytest.mark.django_db
def test_a_mute_is_created_listed_and_removed() -> None:
    endpoint()
    done = webhook("mute", "ops", "--for", "2h", "--reason", "moving")
    assert done.code == 0 and done.out.startswith("ops: muted from ")
    row = WebhookMute.objects.get()
    assert row.ends_at == row.starts_at + timedelta(hours=2)
    assert [shown["reason"] for shown in webhook("mutes", "--json").json] == ["moving"]
    assert webhook("unmute", str(row.pk)).out == f"mute {row.pk}: removed\n"
    assert webhook("mutes").err == "Nothing is muted.\n"


@pytest.mark.django_db
def test_a_maintenance_window_for_a_program_can_be_created() -> None:
    program()
    shown: Any = webhook("mute", "--program", "web", "--cron", "0 3 * * *", "--window", "30m", "--json").json
    row = WebhookMute.objects.get()
    assert (row.cron, row.cron_seconds, shown["program"]) == ("0 3 * * *", 1800, row.program_id)
    assert "0 3 * * * for 30m" in webhook("mutes").out
    assert webhook("mute", "--cron", "nightly").code == 1
    ended = timezone.now() - timedelta(hours=1)
    WebhookMute.objects.update(starts_at=ended - timedelta(hours=1), ends_at=ended)
    assert webhook("mutes").out == "" and len(webhook("mutes", "--all").lines) == 2
