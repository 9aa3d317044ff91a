"""Tests of all formats. Each format also has tests in its folder."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
from django.db import transaction

from core.http import Client, OutgoingRequest, OutgoingResponse, Policy
from core.tests.http_server import serving
from programs import events
from programs.models import Incident, Program
from webhooks import transports
from webhooks.outbox import payload
from webhooks.tests.sample_bodies import CRASH, crash_body, worst_body
from webhooks.transports import TemplateError, UnknownKindError
from webhooks.transports.base import SettingsError
from webhooks.transports.chat import ChatTransport
from webhooks.transports.message import build_digest
from webhooks.transports.text import length

KINDS = transports.kinds()
CHATS = [kind for kind in KINDS if transports.get(kind).is_chat]
URLS = {"telegram": "https://api.telegram.org/bot123456:abc-DEF", "apprise": "json://127.0.0.1:9/token"}
ROOT = Path(transports.__file__).parents[2]


def url_of(kind: str) -> str:
    return URLS.get(kind, "https://hooks.example/services/T0/B0/token")


def example(kind: str) -> dict[str, Any]:
    found: dict[str, Any] = transports.get(kind).schema()["examples"][0]
    return found


def render(kind: str, body: dict[str, Any]) -> OutgoingRequest:
    return transports.get(kind).render(body, url_of(kind), example(kind))


def test_the_documented_formats_exist() -> None:
    assert set(KINDS) >= {"standard", "discord", "slack", "teams", "telegram", "apprise", "template"}


def test_an_unknown_format_is_an_error_that_names_the_known_ones() -> None:
    for kind in ("pigeon", "base", "../core", "", "tests"):
        with pytest.raises(UnknownKindError, match="discord"):
            transports.get(kind)


def test_a_format_is_added_by_a_folder_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "pigeon"
    folder.mkdir()
    (folder / "__init__.py").touch()
    source = (ROOT / "webhooks/transports/standard/transport.py").read_text().replace('"standard"', '"pigeon"')
    (folder / "transport.py").write_text(source)
    monkeypatch.setattr(transports, "__path__", [*transports.__path__, str(tmp_path)])
    transports.kinds.cache_clear()
    try:
        assert transports.get("pigeon").kind == "pigeon"
    finally:
        monkeypatch.undo()
        transports.kinds.cache_clear()


@pytest.mark.parametrize("kind", KINDS)
def test_the_example_is_valid_for_the_schema_of_the_settings(kind: str) -> None:
    transport = transports.get(kind)
    assert transport.kind == kind and transport.label
    schema = transport.schema()
    jsonschema_rs.meta.validate(schema)
    jsonschema_rs.Draft202012Validator(schema).validate(example(kind))
    assert transport.parse(example(kind)) is not None


@pytest.mark.parametrize("kind", KINDS)
def test_unknown_settings_are_refused_by_name(kind: str) -> None:
    with pytest.raises(SettingsError) as caught:
        transports.get(kind).parse({**example(kind), "no_such": 1})
    assert list(caught.value.errors) == ["no_such"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_message_has_the_important_facts(kind: str) -> None:
    text = render(kind, CRASH).body.decode()
    # Underscores may be escaped.
    assert "web crashed: exit code 1" in text
    if kind != "template":
        for part in ("nas", "a general error", "ValueError: a", "crashed"):
            assert part in text


@pytest.mark.parametrize("kind", CHATS)
def test_a_chat_message_has_uptime_restarts_lateness_and_link(kind: str) -> None:
    text = render(kind, crash_body(late_seconds=7200)).body.decode()
    for part in ("1 h 6 min", "Restarts in the last hour", "late by 2 h", "incident/7/change/", "instance 2"):
        assert part in text


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "body",
    [
        {},
        {"type": "agent.lost", "data": None},
        {"type": 5, "timestamp": "yesterday", "data": {"program": [], "process": 3, "event": "x", "link": 4}},
        {
            "data": {
                "process": {"log_lines": "abc", "uptime_seconds": float("inf"), "index": True},
                "summary": ["a"],
            }
        },
        {"data": {"summary": "half \ud83d of an emoji", "process": {"log_lines": ["\udfe2", None, 7]}}},
        crash_body(program=None, process=None, event=None, host=None, summary=None, link=None),
    ],
    ids=["empty", "no data", "other types", "odd values", "surrogates", "bare"],
)
def test_invalid_payloads_make_a_shorter_message_and_no_error(kind: str, body: dict[str, Any]) -> None:
    if kind != "template":  # whose own JSON decides whether a missing value fits
        render(kind, body).body.decode()


@pytest.mark.parametrize("kind", CHATS)
def test_the_size_of_a_message_is_limited(kind: str) -> None:
    request = render(kind, worst_body())
    assert len(request.body) < 28 * 1024
    assert "\x1b" not in request.body.decode() and "\\u0000" not in request.body.decode()


@pytest.mark.parametrize(
    ("kind", "said", "sentence"),
    [
        ("slack", b"channel_not_found", "channel_not_found"),
        ("discord", b'{"message": "Unknown Webhook", "code": 10015}', "Unknown Webhook"),
        ("teams", b'{"error": {"code": "X", "message": "The flow is off."}}', "The flow is off."),
        ("telegram", b'{"description": "chat not found"}', "chat not found"),
        ("slack", b"<html><h1>502 Bad Gateway</h1>", ""),
        ("discord", b'{"message": "cut o', ""),
        ("discord", b'{"message": 5, "error": []}', ""),
        ("telegram", b"", ""),
        ("standard", b"no", ""),
    ],
)
def test_the_sentence_in_which_a_chat_explains_an_error(kind: str, said: bytes, sentence: str) -> None:
    assert transports.get(kind).error_sentence(OutgoingResponse(400, {}, said)) == sentence


@pytest.mark.parametrize("kind", CHATS)
def test_a_bundle_links_to_the_list_of_events(kind: str) -> None:
    request = transports.get(kind).render_bundle([CRASH, CRASH], url_of(kind), example(kind))
    assert "/admin/programs/programevent/" in request.body.decode()


@pytest.mark.parametrize("kind", CHATS)
def test_a_link_that_is_not_a_web_url_is_left_out(kind: str) -> None:
    for link in ("javascript:alert(1)", "http://a/<b>", 'http://a/"', "file:///etc/passwd"):
        assert link not in json.dumps(json.loads(render(kind, crash_body(link=link)).body), ensure_ascii=False)


@pytest.mark.parametrize("kind", CHATS)
def test_many_events_become_one_message(kind: str) -> None:
    other = {**CRASH, "type": "program.fatal", "timestamp": "2026-01-02T12:03:44Z"}
    request = transports.get(kind).render_bundle([CRASH] * 13 + [other], url_of(kind), example(kind))
    text = request.body.decode()
    assert "14 events within" in text and "(13 times)" in text


@pytest.mark.parametrize("kind", CHATS)
def test_the_size_of_a_large_bundle_is_limited(kind: str) -> None:
    many = [crash_body(program={"id": n, "name": f"p{n}"}) for n in range(500)]
    request = transports.get(kind).render_bundle(many + [worst_body()] * 50, url_of(kind), example(kind))
    assert len(request.body) < 28 * 1024 and "550 events of 501 programs" in request.body.decode()


@pytest.mark.parametrize("kind", CHATS)
def test_a_message_shows_every_line_of_the_bundle_that_fits(kind: str, settings: Any) -> None:
    settings.PUBLIC_URL = f"https://monitor.example/{'x' * 200}"  # the link takes room too
    transport = transports.get(kind)
    many = [crash_body(program={"id": n, "name": f"p{n}"}, summary=f"<p{n}> crashed_") for n in range(500)]
    count = transport.count_fitting(many)
    assert 10 < count < 500
    text = transport.render_bundle(many[:count], url_of(kind), example(kind)).body.decode()
    assert all(re.search(rf"\bp{n}\b", text) for n in range(count))
    assert f"{settings.PUBLIC_URL}/admin/programs/programevent/" in text
    assert transport.count_fitting([worst_body()] * 50) >= 1


@pytest.mark.parametrize("kind", ["discord", "slack", "telegram"])
def test_lines_and_link_of_a_digest_stay_within_its_room(kind: str, settings: Any) -> None:
    settings.PUBLIC_URL = f"https://monitor.example/{'x' * 200}"
    transport = transports.get(kind)
    assert isinstance(transport, ChatTransport)
    digest = build_digest([crash_body(program={"id": n, "name": f"p{n}"}, summary=f"p{n}") for n in range(500)])
    text = transport.digest_text(digest)
    assert transport.digest_room - 40 < length(text) <= transport.digest_room
    assert settings.PUBLIC_URL in text.splitlines()[-1]


@pytest.mark.parametrize("kind", CHATS)
def test_a_bundle_of_one_is_that_message(kind: str) -> None:
    transport = transports.get(kind)
    assert transport.render_bundle([CRASH], url_of(kind), example(kind)) == render(kind, CRASH)


@pytest.mark.parametrize("kind", sorted(set(KINDS) - set(CHATS)))
def test_formats_for_programs_cannot_be_bundled(kind: str) -> None:
    with pytest.raises(TemplateError, match="cannot be bundled"):
        transports.get(kind).render_bundle([CRASH, CRASH], url_of(kind), example(kind))


@pytest.mark.parametrize("kind", KINDS)
def test_a_masked_url_does_not_contain_the_token(kind: str) -> None:
    shown = transports.get(kind).masked(url_of(kind))
    assert "token" not in shown and "abc-DEF" not in shown
    assert shown.startswith(url_of(kind).split("://")[0])


@pytest.mark.parametrize("kind", KINDS)
def test_a_preview_shows_the_message_without_secrets(kind: str) -> None:
    shown = transports.preview(kind, example(kind), CRASH, url_of(kind))
    assert shown.keys() == {"method", "url", "headers", "body"}
    assert "crashed" in shown["body"] and "token" not in shown["url"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("status", [200, 204, 500, 503])
def test_success_and_temporary_errors_are_not_permanent(kind: str, status: int) -> None:
    for said in (b"", b"ok", b"[]", b"\xff{", b'{"retry_after": "soon", "parameters": 3, "error": []}'):
        answer = OutgoingResponse(status, {}, said)
        assert not transports.get(kind).is_permanent(answer)
        assert transports.get(kind).rate_limited(answer) is None


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in ("apprise", "telegram")])
async def test_the_rendered_body_is_sent_unchanged(kind: str) -> None:
    transport = transports.get(kind)
    async with serving() as server, Client(Policy()) as client:
        request = transport.render(CRASH, server.url("/token"), example(kind))
        response = await transport.send(client, request, deadline=5)
    assert response.status == 200
    assert server.requests[0].partition(b"\r\n\r\n")[2] == request.body


@pytest.mark.django_db
@pytest.mark.parametrize("kind", KINDS)
def test_real_payloads_are_rendered(kind: str) -> None:
    program = Program.objects.create(name="shop", command="true")
    ended = {"exit_code": 139, "meaning": "Killed by SIGSEGV", "uptime_seconds": 65.0}
    with transaction.atomic():
        event = events.record("program.crashed", program=program, process_index=0, actor="agent", data=ended)
        lines = {"log_lines": ["the last words"], "fingerprint": "f", "timestamp": datetime.now(UTC)}
        Incident.objects.create(event=event, program=program, program_name="shop", process_index=0, **lines)
    text = render(kind, payload.build_one(event)).body.decode()
    assert "shop crashed" in text
    if kind in CHATS:
        assert all(part in text for part in ("the last words", "1 min 5 s", "/incident/"))
        assert "Restarts" not in text  # there were none


def test_rendering_does_not_import_the_http_client() -> None:
    script = "import sys; from webhooks import transports as t; list(map(t.get, t.kinds())); print(*sys.modules)"
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=60)
    assert "webhooks.transports.slack.transport" in done.stdout and "aiohttp" not in done.stdout.split()
