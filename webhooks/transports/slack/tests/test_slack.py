from __future__ import annotations

import json
import re
from typing import Any

import pytest

from core.http import OutgoingResponse
from webhooks.tests.sample_bodies import CRASH, HOSTILE, LINK, crash_body, worst_body
from webhooks.transports import get
from webhooks.transports.base import SettingsError

SLACK = get("slack")
URL = "https://hooks.slack.com/services/T/B/token"


def payload(body: dict[str, Any], **settings: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(SLACK.render(body, URL, settings).body)
    return found


def blocks(found: dict[str, Any]) -> list[dict[str, Any]]:
    shown: list[dict[str, Any]] = found["attachments"][0]["blocks"]
    return shown


def texts(found: dict[str, Any]) -> list[str]:
    parts = [*blocks(found), *(part for block in blocks(found) for part in block.get("fields", []))]
    return [part["text"]["text"] if isinstance(part.get("text"), dict) else part.get("text", "") for part in parts]


def test_a_message_has_headline_facts_log_and_link() -> None:
    found = payload(CRASH)
    assert found["text"] == "🔴 *my_web crashed: exit code 1 after 1 h 6 min; restarting now*"
    assert found["attachments"][0]["color"] == "#d9363e"
    assert "*Host*\nnas" in texts(found) and "*Restarts in the last hour*\n3" in texts(found)
    assert "```Traceback &lt;most recent&gt;\nValueError: a &amp; b *or* _c_```" in texts(found)
    assert blocks(found)[-1]["elements"][0]["text"].startswith(f"<{LINK}|Open in the monitor>")


def test_the_largest_message_keeps_the_limits_of_slack() -> None:
    found = payload(worst_body(), mention="<!channel>")
    assert len(found["text"]) <= 3000 and len(blocks(found)) <= 50
    for block in blocks(found):
        assert len(block.get("fields", [])) <= 10
        assert len(block.get("text", {}).get("text", "-")) in range(1, 3001)
        assert all(len(field["text"]) <= 2000 for field in block.get("fields", []))


def test_markup_in_summary_and_log_lines_is_escaped() -> None:
    found = payload(crash_body(summary=HOSTILE, process={"log_lines": [HOSTILE] * 10}))
    assert "<" not in found["text"] and found["text"].count("*") == HOSTILE.count("*") + 2
    assert not re.search(r"(?<!\u200b)[~`_]|(?<!\u200b)\*(?=.*\*$)", found["text"].removeprefix("🔴 *"))
    assert "".join(texts(found)).count("```") == 2


def mattermost(body: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(SLACK.render(body, "https://chat.example/hooks/abc", {}).body)
    return found


def test_servers_that_ignore_blocks_get_text_fields_and_fallback() -> None:
    [attachment] = mattermost(CRASH)["attachments"]
    assert "blocks" not in attachment and attachment["fallback"].startswith("🔴 my_web crashed")
    assert {"title": "Host", "value": "nas", "short": True} in attachment["fields"]
    assert "```\nTraceback <most recent>\nValueError: a & b *or* _c_\n```" in attachment["text"]
    assert attachment["text"].endswith(f"<{LINK}|Open in the monitor>")


def test_each_reader_sees_their_local_time() -> None:
    token = "<!date^1767355384^{date_num} {time_secs}|2026-01-02 12:03:04 UTC>"
    assert f"*When*\n{token}" in texts(payload(CRASH))
    assert "<!date" not in json.dumps(mattermost(CRASH))  # shown as it is


def test_a_bundle_has_text_on_servers_that_ignore_blocks() -> None:
    request = SLACK.render_bundle([CRASH, CRASH], "https://chat.example/hooks/abc", {})
    [attachment] = json.loads(request.body)["attachments"]
    assert "my_web crashed" in attachment["text"] and "blocks" not in attachment


def test_the_largest_message_stays_within_the_limit_of_mattermost() -> None:
    found = mattermost(worst_body())
    assert len(found["text"]) <= 3000 and len(found["attachments"][0]["text"]) <= 3000


@pytest.mark.parametrize("name", ["@channel", "@here", "<!channel>", "[x](http://e.example)", "shop.io"])
def test_names_become_no_links_or_mentions(name: str) -> None:
    body = crash_body(summary=f"{name} crashed", process={"meaning": f"{name} again"})
    for found in (payload(body), mattermost(body)):
        assert not re.search(r"@channel|@here|<!channel|\]\(|://e|shop\.io", json.dumps(found, ensure_ascii=False))


def test_a_log_line_cannot_mention_a_channel_or_leave_its_block() -> None:
    text = mattermost(crash_body(process={"log_lines": ["<!channel> ``` x"]}))["attachments"][0]["text"]
    assert "<!channel>" not in text and text.count("```") == 2


def test_a_name_with_underscores_can_be_copied() -> None:
    assert "my_web" in payload(CRASH)["text"]


def test_entities_are_not_cut() -> None:
    text = "".join(texts(payload(crash_body(process={"meaning": "&" * 500, "log_lines": ["<" * 500] * 10}))))
    assert re.sub(r"&(amp|lt|gt);", "", text).count("&") == 0


def test_people_are_mentioned_only_on_errors() -> None:
    assert payload(CRASH, mention="<!here>")["text"].startswith("<!here> 🔴")
    assert "here" not in payload(crash_body(event={"severity": "warning"}), mention="<!here>")["text"]


@pytest.mark.parametrize("mention", ["@here", "<script>", "<https://e|x>", "<!here> <!channel>"])
def test_invalid_mentions_are_refused(mention: str) -> None:
    with pytest.raises(SettingsError):
        SLACK.parse({"mention": mention})


@pytest.mark.parametrize(
    ("status", "said", "is_permanent"),
    [
        (404, b"no_service", True),
        (403, b"invalid_token", True),
        (403, b"action_prohibited", True),
        (410, b"channel_is_archived", True),
        (400, b"invalid_payload", False),
        (429, b"rate_limited", False),
        (500, b"rollup_error", False),
    ],
)
def test_permanent_responses(status: int, said: bytes, is_permanent: bool) -> None:
    assert SLACK.is_permanent(OutgoingResponse(status, {}, said)) is is_permanent
