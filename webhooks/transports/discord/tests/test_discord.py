from __future__ import annotations

import json
from typing import Any

import pytest

from core.http import OutgoingResponse
from webhooks.tests.sample_bodies import CRASH, HOSTILE, LINK, told, worst_body
from webhooks.transports import get
from webhooks.transports.base import SettingsError
from webhooks.transports.text_limits import length

DISCORD = get("discord")
URL = "https://discord.com/api/webhooks/1/token"


def payload(body: dict[str, Any], **settings: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(DISCORD.render(body, URL, settings).body)
    return found


def test_the_line_that_a_phone_shows_says_it_all() -> None:
    content = payload(CRASH)["content"]
    assert content == "🔴 **my\\_web crashed: exit code 1 after 1 h 6 min; restarting now**"


def test_the_embed_has_the_facts_the_log_and_the_link() -> None:
    [embed] = payload(CRASH)["embeds"]
    assert {"name": "Host", "value": "nas", "inline": True} in embed["fields"]
    assert "```\nTraceback <most recent>\nValueError: a & b *or* _c_\n```" in embed["description"]
    assert f"[Open in the monitor]({LINK})" in embed["description"]
    assert (embed["timestamp"], embed["footer"]) == (
        "2026-01-02T12:03:04.500000+00:00",
        {"text": "program.crashed"},
    )


@pytest.mark.parametrize(
    ("type_", "severity", "colour"),
    [
        ("program.crashed", "error", 0xD9363E),
        ("program.backoff", "warning", 0xE8A317),
        ("program.started", "info", 0x4B7BEC),
        ("program.running", "info", 0x2E9E5B),
    ],
)
def test_the_colour_tells_how_bad_it_is(type_: str, severity: str, colour: int) -> None:
    body = {**told(event={"severity": severity}), "type": type_}
    assert payload(body)["embeds"][0]["color"] == colour


def test_the_limits_of_discord_are_kept_by_the_worst_message() -> None:
    found = payload(worst_body(), username="u" * 80, mention_role="1" * 20)
    [embed] = found["embeds"]
    texts = [embed["description"], embed["footer"]["text"]]
    texts += [text for field in embed["fields"] for text in (field["name"], field["value"])]
    assert length(found["content"]) <= 2000
    assert length(embed["description"]) <= 4096 and sum(map(length, texts)) <= 6000
    assert len(embed["fields"]) <= 25 and all(1 <= length(field["value"]) <= 1024 for field in embed["fields"])


def test_a_log_line_cannot_leave_its_box_or_wake_anybody() -> None:
    found = payload(told(process={"log_lines": [HOSTILE] * 10}))
    assert found["embeds"][0]["description"].count("```") == 2
    assert found["allowed_mentions"] == {"parse": [], "roles": []}


def test_markup_in_a_name_is_text() -> None:
    assert payload(told(summary="[x](http://e) <@1> **b**"))["content"] == (
        "🔴 **\\[x\\](http://e) \\<@1\\> \\*\\*b\\*\\***"
    )


def test_a_role_is_woken_by_errors_alone() -> None:
    found = payload(CRASH, mention_role="123")
    assert found["content"].startswith("<@&123> 🔴") and found["allowed_mentions"]["roles"] == ["123"]
    calm = payload(told(event={"severity": "info"}), mention_role="123")
    assert "123" not in calm["content"] and calm["allowed_mentions"]["roles"] == []


def test_it_is_posted_into_the_thread_and_waits_for_the_verdict() -> None:
    request = DISCORD.render(CRASH, f"{URL}?a=b", {"thread_id": "99"})
    assert request.url == f"{URL}?a=b&wait=true&thread_id=99"


@pytest.mark.parametrize("settings", [{"thread_id": "x"}, {"mention_role": "@everyone"}, {"username": "u" * 81}])
def test_settings_that_discord_would_not_take_are_refused(settings: dict[str, str]) -> None:
    with pytest.raises(SettingsError):
        DISCORD.parse(settings)


def test_a_hook_that_is_gone_is_permanent_and_a_limit_is_not() -> None:
    assert [DISCORD.is_permanent(OutgoingResponse(status)) for status in (401, 404, 400, 429)] == [
        True,
        True,
        False,
        False,
    ]
    limited = OutgoingResponse(429, {}, b'{"message": "You are being rate limited.", "retry_after": 64.57}')
    assert DISCORD.rate_limited(limited) == 64.57
