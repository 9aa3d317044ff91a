from __future__ import annotations

import json

import orjson

from webhooks.tests.sample_bodies import CRASH
from webhooks.transports import get

STANDARD = get("standard")


def test_the_payload_is_sent_unchanged() -> None:
    request = STANDARD.render(CRASH, "https://example.com/hook", {})
    assert (request.method, request.url) == ("POST", "https://example.com/hook")
    assert request.headers == {"Content-Type": "application/json"}
    assert request.body == orjson.dumps(CRASH)


def test_the_same_event_makes_the_same_bytes() -> None:
    # A retry signs the same body.
    assert STANDARD.render(CRASH, "https://a/", {}).body == STANDARD.render(dict(CRASH), "https://a/", {}).body


def test_lone_surrogates_are_sent_as_json_escapes() -> None:
    body = {"id": "evt_1", "data": {"text": "\ud83d", "number": 2**70}}
    assert json.loads(STANDARD.render(body, "https://a/", {}).body) == body


def test_it_is_signed_and_not_a_chat_format() -> None:
    assert STANDARD.is_signed and not STANDARD.is_chat
