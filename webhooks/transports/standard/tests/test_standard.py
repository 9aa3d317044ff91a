from __future__ import annotations

import json

import orjson

from webhooks.tests.sample_bodies import CRASH
from webhooks.transports import get

STANDARD = get("standard")


def test_the_body_goes_out_as_it_is() -> None:
    request = STANDARD.render(CRASH, "https://example.com/hook", {})
    assert (request.method, request.url) == ("POST", "https://example.com/hook")
    assert request.headers == {"Content-Type": "application/json"}
    assert request.body == orjson.dumps(CRASH)


def test_the_same_event_makes_the_same_bytes() -> None:
    """The signature of a later try is over the same body."""
    assert STANDARD.render(CRASH, "https://a/", {}).body == STANDARD.render(dict(CRASH), "https://a/", {}).body


def test_what_is_not_utf8_arrives_as_json_escapes() -> None:
    body = {"id": "evt_1", "data": {"text": "\ud83d", "number": 2**70}}
    assert json.loads(STANDARD.render(body, "https://a/", {}).body) == body


def test_it_is_signed_and_not_read_by_people() -> None:
    assert STANDARD.is_signed and not STANDARD.is_chat
