from __future__ import annotations

import json
from typing import Any

import pytest

from core.http import OutgoingResponse
from webhooks.tests.sample_bodies import CRASH, HOSTILE, LINK, crash_body, hostile, worst_body
from webhooks.transports import get
from webhooks.transports.teams.transport import MAX_BYTES, escape

TEAMS = get("teams")
URL = "https://prod-1.westeurope.logic.azure.com/workflows/x?sig=token"


def card(body: dict[str, Any]) -> dict[str, Any]:
    message = json.loads(TEAMS.render(body, URL, {}).body)
    [attachment] = message["attachments"]
    assert (message["type"], attachment["contentType"]) == ("message", "application/vnd.microsoft.card.adaptive")
    found: dict[str, Any] = attachment["content"]
    return found


def log_of(found: dict[str, Any]) -> list[str]:
    boxes = [element for element in found["body"] if element.get("style") == "emphasis"]
    return [item["text"] for box in boxes for item in box["items"]]


def test_a_card_has_headline_facts_log_and_link() -> None:
    found = card(CRASH)
    assert (found["type"], found["version"]) == ("AdaptiveCard", "1.4")
    head = found["body"][0]
    assert head["style"] == "attention" and head["items"][0]["text"].startswith("🔴 my\\_web crashed: exit code 1")
    facts = next(element["facts"] for element in found["body"] if element["type"] == "FactSet")
    assert {"title": "Host", "value": "nas"} in facts
    stamp = "2026-01-02T12:03:04Z"
    assert {"title": "When", "value": f"{{{{DATE({stamp},SHORT)}}}} {{{{TIME({stamp})}}}}"} in facts
    assert log_of(found) == ["Traceback <most recent>", "ValueError: a & b \\*or\\* \\_c\\_"]
    assert found["actions"] == [{"type": "Action.OpenUrl", "title": "Open in the monitor", "url": LINK}]


def test_the_largest_card_fits_and_keeps_the_newest_lines() -> None:
    body = worst_body()
    body["data"]["process"]["log_lines"] = ["first", *[hostile(500)] * 8, "newest"]
    request = TEAMS.render(body, URL, {})
    assert len(request.body) <= MAX_BYTES
    assert log_of(card(body))[-1] == "newest"


def test_the_oldest_lines_are_dropped_until_it_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("webhooks.transports.teams.transport.MAX_BYTES", 2000)
    shown = log_of(card(crash_body(process={"log_lines": [f"line {n} {'x' * 200}" for n in range(10)]})))
    assert 0 < len(shown) < 10 and shown[-1].startswith("line 9")


def test_markup_and_functions_are_escaped() -> None:
    text = card(crash_body(summary=HOSTILE))["body"][0]["items"][0]["text"]
    assert "{{" not in text and "\\*\\*b\\*\\*" in text and "\\[x\\]" in text


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("12.5 %", "12.5 %"),
        ("10.0.0.1", "10.0.0.1"),
        ("1.2.3", "1.2.3"),
        ("1. first", "1\u200b. first"),
        ("2) x", "2\u200b) x"),
        ("- item", "\\- item"),
    ],
)
def test_numbers_have_no_backslash_and_start_no_list(text: str, written: str) -> None:
    assert escape(text) == written


def test_a_disabled_or_removed_workflow_is_permanent() -> None:
    off = b'{"error": {"code": "WorkflowTriggerIsNotEnabled", "message": "..."}}'
    assert TEAMS.is_permanent(OutgoingResponse(400, {}, off))
    assert TEAMS.is_permanent(OutgoingResponse(404)) and TEAMS.is_permanent(OutgoingResponse(401))
    assert not TEAMS.is_permanent(OutgoingResponse(400, {}, b'{"error": {"code": "InvalidRequest"}}'))
