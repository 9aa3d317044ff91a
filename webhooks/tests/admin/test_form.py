from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from programs.events import TYPES
from programs.forms.fields import seconds_of, seconds_text
from webhooks import services, transports
from webhooks.admin.fields import AREAS, seal, unseal
from webhooks.delivery import signing
from webhooks.models import WebhookEndpoint
from webhooks.tests import rig

from .conftest import DISCORD, HOOK, LIST, Posted, bound, errors_of, filled, form_of, text_of

ADD = LIST + "add/"
BOT = "https://api.telegram.org/bot123456:T0P-SECRET-TOKEN"
SETTINGS = {
    "headers": "X-A: $NAME",
    "secret_headers": "Authorization: Bearer T0P-SECRET-BEARER",
    "body": "$BODY_JSON",
}


def page_of(endpoint: WebhookEndpoint) -> str:
    return f"{LIST}{endpoint.pk}/change/"


def test_an_endpoint_is_created_and_its_secret_shown_once(admin: Client) -> None:
    answer = admin.post(ADD, filled())
    made = WebhookEndpoint.objects.get()
    assert (made.name, made.url, made.events, made.enabled) == ("chat", HOOK, ["program.*"], True)
    signing.check_secret(made.secret)
    assert made.secret in text_of(answer)
    assert "no-store" in answer["Cache-Control"]
    assert made.secret not in text_of(admin.get(page_of(made)))


def test_a_new_endpoint_starts_with_failures_and_alerts(admin: Client) -> None:
    checked = set(re.findall(r'value="([a-z.*]+)"[^>]*\schecked', admin.get(ADD).content.decode()))
    assert {"program.crashed", "program.fatal", "program.unhealthy", "alert.*"} <= checked
    assert "program.*" not in checked


def test_a_chat_endpoint_has_no_secret_page(admin: Client) -> None:
    posted = filled(format="telegram", telegram__url=BOT, telegram__chat_id="-100123")
    assert admin.post(ADD, posted).status_code == 302
    made = WebhookEndpoint.objects.get()
    assert (made.url, made.settings["chat_id"], made.secret) == (BOT, "-100123", "")


@pytest.mark.django_db
@pytest.mark.parametrize("kind", transports.kinds())
def test_only_the_fields_of_the_chosen_format_are_enabled(kind: str) -> None:
    form = bound(format=kind, standard__url=None, _choose="1")
    on = {name for name in Posted(str(form["target"])).values if not name.endswith("-sealed")}
    properties = transports.get(kind).schema().get("properties", {})
    unticked = {name for name, shape in properties.items() if shape.get("type") == "boolean"}
    assert on == {f"{kind}-{name}" for name in {"url", *properties} - unticked}
    assert all(f'name="{kind}-{name}"' in str(form["target"]) for name in properties)


def test_choosing_a_format_without_javascript_keeps_values_and_shows_no_errors(admin: Client) -> None:
    answer = admin.post(ADD, filled(name="ops room", format="telegram", _choose="1"))
    page = text_of(answer)
    assert 'value="ops room"' in page
    assert errors_of(answer.context["adminform"].form) == {}
    assert "telegram-chat_id" in Posted(page.split('id="webhookendpoint_form"')[1]).values
    assert not WebhookEndpoint.objects.exists()


def test_a_new_format_folder_gets_its_form_fields(
    admin: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "pigeon"
    folder.mkdir()
    (folder / "__init__.py").touch()
    source = (Path(transports.__path__[0]) / "slack/transport.py").read_text()
    source = (
        source.replace('"slack"', '"pigeon"').replace('"Slack"', '"Carrier pigeon"').replace("mention:", "loft:")
    )
    (folder / "transport.py").write_text(source)
    monkeypatch.setattr(transports, "__path__", [*transports.__path__, str(tmp_path)])
    transports.kinds.cache_clear()
    try:
        page = text_of(admin.get(ADD))
        assert "Carrier pigeon" in page and 'name="pigeon-loft"' in page
    finally:
        monkeypatch.undo()
        transports.kinds.cache_clear()


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("changes", "field", "words"),
    [
        ({"name": ""}, "name", "required"),
        ({"standard__url": ""}, "target-url", "required"),
        ({"standard__url": "ftp://example.com/"}, "target-url", "http://"),
        ({"standard__url": "http://169.254.169.254/"}, "target-url", "not allow"),
        ({"format": "pigeon"}, "format", "valid choice"),
        ({"format": "telegram", "telegram__url": BOT}, "target-chat_id", "required"),
        (
            {"format": "telegram", "telegram__url": BOT, "telegram__chat_id": "my chat"},
            "target-chat_id",
            "required format",
        ),
        (
            {"format": "telegram", "telegram__url": "https://api.telegram.org/x", "telegram__chat_id": "1"},
            "target-url",
            "BotFather",
        ),
        (
            {"format": "template", "template__url": HOOK, "template__body": '{"a": $NOPE}'},
            "target-body",
            "not a placeholder",
        ),
        (
            {"format": "template", "template__url": HOOK, "template__headers": "nonsense"},
            "target-headers",
            "no colon",
        ),
        (
            {"format": "template", "template__url": "http://$NAME/"},
            "target-url",
            "Placeholders are not allowed there",
        ),
        ({"format": "apprise", "apprise__url": "gopher://x"}, "target-url", "not a supported service"),
        ({"events": [], "events__more": ""}, "events", "required"),
        ({"events__more": "program.c*"}, "events", "not an event type"),
        ({"events__more": "progam.crashed"}, "events", "Did you mean program.crashed?"),
        ({"events__more": "agents.*"}, "events", "Did you mean agent.*?"),
        ({"tags": 'a"b'}, "tags", "1 to 50 characters"),
        ({"conditions": "{oops"}, "conditions", "Invalid JSON"),
        ({"conditions": '{"attr": "a", "op": "like", "value": 1}'}, "conditions", "must be one of"),
        ({"retry_schedule": "5s, soon"}, "retry_schedule", "Use 30s, 5m, 2h or 1d"),
        ({"retry_schedule": "30d"}, "retry_schedule", "7 days"),
        ({"max_age_seconds": "-5"}, "max_age_seconds", "Use 30s, 5m, 2h or 1d"),
        ({"timeout_seconds": "300"}, "timeout_seconds", "between 1 and 30"),
        ({"max_concurrency": "99"}, "max_concurrency", "between 1 and 10"),
        ({"rate_per_second": "0"}, "rate_per_second", "between"),
        ({"bundle_seconds": "nan"}, "bundle_seconds", "number"),
    ],
)
def test_errors_are_shown_at_their_field(changes: dict[str, Any], field: str, words: str) -> None:
    form = bound(**changes)
    found = errors_of(form)
    assert words in found[field], found
    assert set(found) <= {field, "target"}


def test_errors_are_on_the_page_and_nothing_is_saved(admin: Client) -> None:
    page = text_of(admin.post(ADD, filled(standard__url="http://169.254.169.254/", events=[], tags='a"b')))
    assert not WebhookEndpoint.objects.exists()
    for words in (
        "does not allow it",
        "Please correct the marked fields",
        "This field is required",
        "1 to 50 characters",
    ):
        assert words in page


def test_a_duplicate_name_is_an_error_of_the_name(ops: WebhookEndpoint) -> None:
    assert "already exists" in errors_of(bound(name=ops.name))["name"]


def test_the_subscription_is_saved_as_entered(admin: Client) -> None:
    web, db = rig.program("web"), rig.program("db")
    posted = filled(
        format="discord",
        discord__url="https://discord.com/api/webhooks/1/a",
        events=["program.crashed", "alert.*"],
        events__more="plugin.failed, agent.lost",
        programs=[web.pk, db.pk],
        tags="prod, eu",
        min_severity="warning",
        conditions='{"attr": "data.exit_code", "op": "ne", "value": 0}',
        retry_schedule="5s 2m, 1.5s 1d",
        max_age_seconds="6h",
        bundle_seconds="20",
    )
    admin.post(ADD, posted)
    made = WebhookEndpoint.objects.get()
    assert made.events == ["program.crashed", "alert.*", "plugin.failed", "agent.lost"]
    assert (made.programs, made.tags, made.min_severity) == (sorted([web.pk, db.pk]), ["prod", "eu"], "warning")
    assert made.conditions == {"attr": "data.exit_code", "op": "ne", "value": 0}
    assert (made.retry_schedule, made.max_age_seconds, made.bundle_seconds) == ([5, 120, 1.5, 86_400], 21_600, 20)


def test_an_unchanged_form_changes_nothing(admin: Client) -> None:
    web = rig.program("web")
    endpoint = rig.endpoint(
        HOOK,
        format="template",
        settings=SETTINGS,
        programs=[web.pk],
        tags=["a"],
        conditions={"attr": "type", "value": "x"},
        max_age_seconds=90,
        retry_schedule=[1.5, 90, 3600],
    )
    WebhookEndpoint.objects.update(events=["*", "plugin.x.*"])  # was taken by an earlier version
    before = WebhookEndpoint.objects.filter(pk=endpoint.pk).values(*services.PLAIN_FIELDS).get()
    answer = admin.post(page_of(endpoint), form_of(admin, page_of(endpoint)))
    assert answer.status_code == 302, text_of(answer)
    after = WebhookEndpoint.objects.get()
    assert WebhookEndpoint.objects.filter(pk=endpoint.pk).values(*services.PLAIN_FIELDS).get() == before
    assert after.url == HOOK
    assert {name: after.settings[name] for name in SETTINGS} == SETTINGS


def test_there_is_a_checkbox_for_every_event_type() -> None:
    assert sorted(f"{area}.{verb}" for area, _title, verbs in AREAS for verb in verbs) == sorted(TYPES)


def test_no_page_contains_secrets(admin: Client, viewer: Client) -> None:
    endpoint = rig.endpoint(HOOK, format="template", settings=SETTINGS)
    WebhookEndpoint.objects.update(last_error="answered 500")
    for client in (admin, viewer):
        for address in (LIST, page_of(endpoint)):
            page = text_of(client.get(address))
            assert endpoint.secret not in page
            assert "T0P-SECRET" not in page
    assert "http://127.0.0.1:9/••••••" in text_of(viewer.get(page_of(endpoint)))
    assert "Secret headers: ••••••" in text_of(viewer.get(page_of(endpoint)))


def test_entered_secrets_come_back_encrypted(admin: Client) -> None:
    posted = filled(
        name="", format="template", template__url=HOOK, template__secret_headers=SETTINGS["secret_headers"]
    )
    page = text_of(admin.post(ADD, posted))
    assert "T0P-SECRET" not in page
    again = Posted(page.split("webhookendpoint_form")[1]).values
    assert again["template-url"] == [""]
    answer = admin.post(ADD, {**again, "name": "ops"})
    made = WebhookEndpoint.objects.get()
    assert (made.url, made.settings["secret_headers"]) == (HOOK, SETTINGS["secret_headers"])
    assert "T0P-SECRET" not in text_of(answer)


@pytest.mark.django_db
def test_a_sealed_value_is_valid_for_its_field_only() -> None:
    assert unseal("discord-url", seal("discord-url", "x")) == "x"
    assert unseal("template-body", seal("discord-url", "x")) == ""
    assert unseal("discord-url", "gAAAAABnonsense") == ""


def test_a_url_is_replaced_and_a_secret_removed(admin: Client) -> None:
    endpoint = rig.endpoint(HOOK, format="template", settings=SETTINGS)
    posted = form_of(admin, page_of(endpoint)) | {
        "template-url": "http://127.0.0.1:9/new",
        "template-secret_headers-remove": "on",
    }
    admin.post(page_of(endpoint), posted)
    after = WebhookEndpoint.objects.get()
    assert (after.url, after.settings["secret_headers"]) == ("http://127.0.0.1:9/new", "")


def test_another_format_needs_its_own_url(admin: Client, ops: WebhookEndpoint) -> None:
    posted = form_of(admin, page_of(ops)) | {"format": "discord"}
    assert "Fill in the fields of this format" in text_of(admin.post(page_of(ops), posted))
    assert "This field is required" in text_of(admin.post(page_of(ops), posted | {"discord-url": ""}))
    assert admin.post(page_of(ops), posted | {"discord-url": DISCORD}).status_code == 302
    assert WebhookEndpoint.objects.get().url == DISCORD


def test_changing_to_a_signed_format_shows_the_new_secret(admin: Client) -> None:
    chat = rig.endpoint(DISCORD, format="discord")
    posted = form_of(admin, page_of(chat)) | {"format": "standard", "standard-url": HOOK}
    answer = admin.post(page_of(chat), posted)
    assert WebhookEndpoint.objects.get().secret in text_of(answer)


def test_a_concurrent_change_is_not_overwritten(admin: Client, ops: WebhookEndpoint) -> None:
    posted = form_of(admin, page_of(ops))
    services.save_endpoint({"tags": ["new"]}, endpoint=ops, actor="alice")
    answer = admin.post(page_of(ops), posted)
    assert "Reload the page first" in text_of(answer)
    assert WebhookEndpoint.objects.get().tags == ["new"]


def test_an_endpoint_of_removed_programs_does_not_get_all_events(admin: Client) -> None:
    web = rig.program("web")
    endpoint = rig.endpoint(HOOK, programs=[web.pk])
    type(web).objects.filter(pk=web.pk).update(removed_at=timezone.now())
    assert "were removed" in text_of(admin.get(page_of(endpoint)))
    admin.post(page_of(endpoint), form_of(admin, page_of(endpoint)))
    assert WebhookEndpoint.objects.get().programs == [web.pk]


def test_the_form_works_when_the_keys_are_lost(admin: Client, ops: WebhookEndpoint) -> None:
    WebhookEndpoint.objects.update(encrypted_url="gAAAAABnonsense")
    assert "enter it again" in text_of(admin.get(page_of(ops)))
    posted = form_of(admin, page_of(ops)) | {"standard-url": HOOK}
    assert admin.post(page_of(ops), posted).status_code in (200, 302)
    assert WebhookEndpoint.objects.get().url == HOOK


def test_programs_are_searched_by_name(admin: Client) -> None:
    rig.program("minecraft")
    found = admin.get(
        "/admin/autocomplete/",
        {"term": "mine", "app_label": "webhooks", "model_name": "webhookmute", "field_name": "program"},
    )
    assert [each["text"] for each in found.json()["results"]] == ["minecraft"]


@pytest.mark.parametrize(
    ("text", "seconds"), [("90", 90), ("90s", 90), ("1.5s", 1.5), ("5 M", 300), ("2h", 7200), ("1d", 86_400)]
)
def test_durations_are_parsed_and_formatted(text: str, seconds: float) -> None:
    assert seconds_of(text) == seconds
    assert seconds_of(seconds_text(seconds)) == seconds
