from __future__ import annotations

import json
from typing import Any

import pytest

from core.http import OutgoingResponse, Policy
from webhooks.tests.sample_bodies import CRASH, HOSTILE, LINK, crash_body, worst_body
from webhooks.transports import get
from webhooks.transports.base import SettingsError
from webhooks.transports.text import length

DISCORD = get("discord")
URL = "https://discord.com/api/webhooks/1/token"


def payload(body: dict[str, Any], **settings: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(DISCORD.render(body, URL, settings).body)
    return found


def test_the_content_has_the_headline() -> None:
    content = payload(CRASH)["content"]
    assert content == "🔴 **my\\_web crashed: exit code 1 after 1 h 6 min; restarting now**"


def test_the_embed_has_the_facts_the_log_and_the_link() -> None:
    [embed] = payload(CRASH)["embeds"]
    assert {"name": "Host", "value": "nas", "inline": True} in embed["fields"]
    assert "```\nTraceback <most recent>\nValueError: a & b *or* _c_\n```" in embed["description"]
    assert f"[Open in the monitor]({LINK})" in embed["description"]
    assert embed["footer"] == {"text": "program.crashed"}


def test_each_reader_sees_their_local_time() -> None:
    [embed] = payload(CRASH)["embeds"]
    assert {"name": "When", "value": "<t:1767355384:D> <t:1767355384:T>", "inline": True} in embed["fields"]
    assert "timestamp" not in embed  # would repeat it


@pytest.mark.parametrize(
    ("type_", "severity", "colour"),
    [
        ("program.crashed", "error", 0xD9363E),
        ("program.backoff", "warning", 0xE8A317),
        ("program.started", "info", 0x4B7BEC),
        ("program.running", "info", 0x2E9E5B),
    ],
)
def test_the_colour_shows_the_severity(type_: str, severity: str, colour: int) -> None:
    body = {**crash_body(event={"severity": severity}), "type": type_}
    assert payload(body)["embeds"][0]["color"] == colour


def test_the_largest_message_keeps_the_limits_of_discord() -> None:
    found = payload(worst_body(), username="u" * 80, mention_role="1" * 20)
    [embed] = found["embeds"]
    texts = [embed["description"], embed["footer"]["text"]]
    texts += [text for field in embed["fields"] for text in (field["name"], field["value"])]
    assert length(found["content"]) <= 2000
    assert length(embed["description"]) <= 4096 and sum(map(length, texts)) <= 6000
    assert len(embed["fields"]) <= 25 and all(1 <= length(field["value"]) <= 1024 for field in embed["fields"])


def test_log_lines_cannot_leave_the_code_block_or_mention_anyone() -> None:
    found = payload(crash_body(process={"log_lines": [HOSTILE] * 10}))
    assert found["embeds"][0]["description"].count("```") == 2
    assert found["allowed_mentions"] == {"parse": [], "roles": []}


def test_markup_is_escaped() -> None:
    assert payload(crash_body(summary="[x](http://e) <@1> **b**"))["content"] == (
        "🔴 **\\[x\\](http:\u200b//e) \\<@1\\> \\*\\*b\\*\\***"
    )


@pytest.mark.parametrize(
    "name",
    ["Clyde", "My Discord bot", "everyone", " HERE ", "System  Message", "a@b", "#1", "x:y", "```", "🟢" * 41],
)
def test_a_name_that_discord_forbids_is_refused_when_saving(name: str) -> None:
    with pytest.raises(SettingsError) as caught:
        DISCORD.check(URL, {"username": name}, Policy())
    assert "username" in caught.value.errors


def test_an_allowed_name_is_accepted() -> None:
    DISCORD.check(URL, {"username": "Monitor over here"}, Policy())


def test_a_role_is_mentioned_only_on_errors() -> None:
    found = payload(CRASH, mention_role="123")
    assert found["content"].startswith("<@&123> 🔴") and found["allowed_mentions"]["roles"] == ["123"]
    calm = payload(crash_body(event={"severity": "info"}), mention_role="123")
    assert "123" not in calm["content"] and calm["allowed_mentions"]["roles"] == []


def test_the_url_has_the_thread_and_wait() -> None:
    request = DISCORD.render(CRASH, f"{URL}?a=b", {"thread_id": "99"})
    assert request.url == f"{URL}?a=b&wait=true&thread_id=99"


def test_the_rest_of_the_query_stays_as_entered() -> None:
    url = f"{URL}?wait=false&a=%7e+%2f&b&thread_id=1"
    assert DISCORD.render(CRASH, url, {}).url == f"{URL}?a=%7e+%2f&b&thread_id=1&wait=true"
    assert DISCORD.render(CRASH, url, {"thread_id": "9"}).url == f"{URL}?a=%7e+%2f&b&wait=true&thread_id=9"


@pytest.mark.parametrize("settings", [{"thread_id": "x"}, {"mention_role": "@everyone"}, {"username": "u" * 81}])
def test_invalid_settings_are_refused(settings: dict[str, str]) -> None:
    with pytest.raises(SettingsError):
        DISCORD.parse(settings)


def test_a_removed_webhook_is_permanent_and_a_rate_limit_is_not() -> None:
    assert [DISCORD.is_permanent(OutgoingResponse(status)) for status in (401, 404, 400, 429)] == [
        True,
        True,
        False,
        False,
    ]
    limited = OutgoingResponse(429, {}, b'{"message": "You are being rate limited.", "retry_after": 64.57}')
    assert DISCORD.rate_limited(limited) == 64.57
