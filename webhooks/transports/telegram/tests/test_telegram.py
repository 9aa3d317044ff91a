from __future__ import annotations

import html
import json
import re
from typing import Any

import pytest

from core.http import Client, OutgoingResponse, Policy, RefusedError
from core.tests.http_server import serving
from webhooks.tests.sample_bodies import CRASH, HOSTILE, LINK, crash_body, worst_body
from webhooks.transports import get
from webhooks.transports.base import SettingsError
from webhooks.transports.text import length

TELEGRAM = get("telegram")
URL = "https://api.telegram.org/bot123456:AA-token_x"
CHAT = {"chat_id": "-100123"}


def payload(body: dict[str, Any], **settings: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(TELEGRAM.render(body, URL, {**CHAT, **settings}).body)
    return found


def shown(text: str) -> str:
    return html.unescape(re.sub(r"</?(b|i|pre|a)( href=\"[^\"]*\")?>", "", text)).replace("\u200b", "")


def test_a_message_has_headline_facts_log_and_link() -> None:
    found = payload(CRASH)
    lines = found["text"].split("\n")
    assert lines[0] == "🔴 <b>my_web crashed: exit code 1 after 1 h 6 min; restarting now</b>"
    assert "Host: nas" in lines and "Restarts in the last hour: 3" in lines
    assert "<pre>Traceback &lt;most recent&gt;\nValueError: a &amp; b *or* _c_</pre>" in found["text"]
    assert lines[-1] == f'<a href="{LINK}">Open in the monitor</a>'
    assert (found["chat_id"], found["parse_mode"]) == ("-100123", "HTML")


@pytest.mark.parametrize("url", [URL, f"{URL}/", f"{URL}/sendMessage", "http://nas:8081/bot1:abc"])
def test_messages_are_posted_to_send_message(url: str) -> None:
    TELEGRAM.check(url, CHAT, Policy())
    assert TELEGRAM.render(CRASH, url, CHAT).url.count("/sendMessage") == 1


@pytest.mark.parametrize(
    "url", ["https://api.telegram.org/", "https://api.telegram.org/bot/x", f"{URL}/getUpdates"]
)
def test_invalid_urls_are_refused_with_an_example(url: str) -> None:
    with pytest.raises(RefusedError, match="BotFather"):
        TELEGRAM.check(url, CHAT, Policy())


def test_the_token_is_masked_and_the_bot_id_is_not() -> None:
    assert TELEGRAM.masked(URL) == "https://api.telegram.org/bot123456:••••••"
    assert TELEGRAM.masked(f"{URL}/getUpdates") == "https://api.telegram.org/••••••"
    assert "token" not in repr(TELEGRAM.render(CRASH, URL, CHAT))


def test_the_largest_message_fits_and_has_only_our_tags() -> None:
    text = payload(worst_body())["text"]
    assert length(text) <= 4096
    assert set(re.findall(r"<[^>]*>", text)) <= {
        "<b>",
        "</b>",
        "<i>",
        "</i>",
        "<pre>",
        "</pre>",
        f'<a href="{LINK}">',
        "</a>",
    }


def test_escaped_text_reads_as_before() -> None:
    printable = " ".join(HOSTILE.replace("\x1b[31m", "").replace("\x00", "").replace("\r", "").split())
    assert printable in shown(payload(crash_body(summary=HOSTILE))["text"])


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("shop.io", "shop\u200b.io"),
        ("worker.py", "worker\u200b.py"),
        ("@admin", "@\u200badmin"),
        ("/restart", "/\u200brestart"),
        ("#build", "#\u200bbuild"),
        ("10.0.0.1", "10\u200b.0.0.1"),
        ("ops@shop.io", "ops@\u200bshop\u200b.io"),
        ("12.5", "12.5"),
        ("v1.2.3", "v1.2.3"),
        ("a/b", "a/b"),
    ],
)
def test_names_become_no_links_or_mentions(name: str, written: str) -> None:
    assert f"<b>{written} crashed</b>" in payload(crash_body(summary=f"{name} crashed"))["text"]


def test_topic_and_silent_notifications() -> None:
    calm = crash_body(event={"severity": "info"})
    assert payload(CRASH, thread_id="7")["message_thread_id"] == 7
    assert payload(calm, silent_below_error=True)["disable_notification"] is True
    assert payload(CRASH, silent_below_error=True)["disable_notification"] is False


@pytest.mark.parametrize("chat_id", [None, "", "me", "12x", "@a b"])
def test_a_chat_is_an_id_or_a_channel_name(chat_id: str | None) -> None:
    with pytest.raises(SettingsError) as caught:
        TELEGRAM.parse({} if chat_id is None else {"chat_id": chat_id})
    assert "chat_id" in caught.value.errors


def test_permanent_responses_and_rate_limits() -> None:
    assert all(TELEGRAM.is_permanent(OutgoingResponse(status)) for status in (401, 403, 404))
    no_chat = b'{"ok": false, "error_code": 400, "description": "Bad Request: chat not found"}'
    assert TELEGRAM.is_permanent(OutgoingResponse(400, {}, no_chat))
    assert not TELEGRAM.is_permanent(OutgoingResponse(400, {}, b'{"description": "Bad Request"}'))
    limited = b'{"ok": false, "description": "Too Many Requests", "parameters": {"retry_after": 33}}'
    assert TELEGRAM.rate_limited(OutgoingResponse(429, {}, limited)) == 33.0


def test_the_sentence_of_an_error_is_kept() -> None:
    refused = b'{"ok": false, "error_code": 400, "description": "Bad Request: chat not found"}'
    assert TELEGRAM.error_sentence(OutgoingResponse(400, {}, refused)) == "Bad Request: chat not found"


MOVED = b'{"ok":false,"error_code":400,"description":"x","parameters":{"migrate_to_chat_id":-1009}}'


async def test_a_group_that_became_a_supergroup_gets_the_message_at_its_new_id() -> None:
    async with serving(response_to(400, MOVED)) as server, Client(Policy()) as client:
        request = TELEGRAM.render(CRASH, server.url("/bot1:abc"), CHAT)
        response = await TELEGRAM.send(client, request, deadline=5)
    sent = [json.loads(raw.partition(b"\r\n\r\n")[2]) for raw in server.requests]
    assert [message["chat_id"] for message in sent] == ["-100123", "-1009"]
    assert sent[0]["text"] == sent[1]["text"]
    assert response.status == 400  # a second move is not followed


def response_to(status: int, body: bytes) -> bytes:
    return f"HTTP/1.1 {status} x\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
