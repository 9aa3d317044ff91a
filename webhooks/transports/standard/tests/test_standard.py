from __future__ import annotations

import json

import orjson
import pytest

from core.http import Policy
from webhooks.tests.sample_bodies import CRASH
from webhooks.transports import TemplateError, get, preview

STANDARD = get("standard")
BASIC = "Authorization: Basic dXNlcjpwYXNz"


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


def test_headers_can_be_added() -> None:
    settings = {"headers": "X-Env: prod\n\ncontent-type: application/cloudevents+json", "secret_headers": BASIC}
    request = STANDARD.render(CRASH, "https://example.com/hook", settings)
    assert request.headers == {
        "X-Env": "prod",
        "content-type": "application/cloudevents+json",
        "Authorization": "Basic dXNlcjpwYXNz",
    }
    assert STANDARD.secret_fields() == {"secret_headers"}
    assert "dXNlcjpwYXNz" not in str(preview("standard", settings, CRASH, "https://example.com/hook"))


@pytest.mark.parametrize(
    "line", ["no colon", "Webhook-Id: x", "Host: a", "Content-Length: 3", "X A: b", "X-A: a\x07"]
)
def test_impossible_headers_are_refused_when_saved(line: str) -> None:
    for name in ("headers", "secret_headers"):
        with pytest.raises(TemplateError):
            STANDARD.check("https://example.com/hook", {name: line}, Policy())
