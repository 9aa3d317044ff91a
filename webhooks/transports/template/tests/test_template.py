from __future__ import annotations

import json
from typing import Any

import pytest

from core.http import OutgoingRequest, Policy, RefusedError
from webhooks.tests.sample_bodies import CRASH, HOSTILE, crash_body
from webhooks.transports import TemplateError, get, preview
from webhooks.transports.base import SettingsError

TEMPLATE = get("template")
URL = "https://ntfy.example/topic"


def render(event: dict[str, Any] = CRASH, url: str = URL, **settings: Any) -> OutgoingRequest:
    return TEMPLATE.render(event, url, settings)


def check(url: str = URL, **settings: Any) -> None:
    TEMPLATE.check(url, settings, Policy())


def test_by_default_the_payload_is_sent() -> None:
    request = render()
    assert json.loads(request.body) == CRASH
    assert (request.method, dict(request.headers)) == ("POST", {"Content-Type": "application/json"})


def test_method_headers_url_and_body_are_filled_in() -> None:
    request = render(
        url=f"{URL}/$SEVERITY?for=$SUMMARY",
        method="PUT",
        content_type="text/plain",
        headers="X-Title: $NAME on $HOST\n\nX-Tags: $TAGS",
        secret_headers="Authorization: Bearer abc",
        body="$SUMMARY\n$LOG",
    )
    assert request.url.startswith(f"{URL}/error?for=my_web%20crashed%3A%20exit")
    assert request.headers["X-Title"] == "my_web on nas" and request.headers["X-Tags"] == "a b"
    assert (request.method, request.headers["Authorization"]) == ("PUT", "Bearer abc")
    assert request.body.decode().startswith("my_web crashed: exit code 1")


def test_hostile_values_are_escaped_everywhere() -> None:
    request = render(
        crash_body(summary=HOSTILE), url=f"{URL}?q=$SUMMARY", headers="X-A: $SUMMARY", body='{"t": "$SUMMARY"}'
    )
    assert json.loads(request.body) == {"t": HOSTILE}
    assert "\n" not in request.headers["X-A"] and "\x00" not in request.headers["X-A"]
    assert "&" not in request.url and "\n" not in request.url


def test_form_values_are_url_encoded() -> None:
    request = render(
        crash_body(summary="a&b=c"), content_type="application/x-www-form-urlencoded", body="t=$SUMMARY&x=1"
    )
    assert request.body == b"t=a%26b%3Dc&x=1"


def test_a_get_has_no_body() -> None:
    request = render(method="GET", url=f"{URL}?m=$NAME")
    assert (request.body, dict(request.headers), request.url) == (b"", {}, f"{URL}?m=my_web")


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"body": '{"a": "$NOPE"}'}, r"\$NOPE is not a placeholder"),
        ({"headers": "X-A: $NOPE"}, r"\$NOPE is not a placeholder"),
        ({"body": '{"a": $NAME}'}, "not valid JSON"),
        ({"body": '{"a": $EXIT_CODE}'}, "not valid JSON"),
        ({"body": "hello"}, "not valid JSON"),
        ({"headers": "X-A"}, "no colon"),
        ({"headers": "Webhook-Signature: v1,x"}, "set by the monitor itself"),
        ({"headers": "Host: example.com"}, "set by the monitor itself"),
        ({"headers": "X A: b"}, "not a valid header name"),
        ({"content_type": "text/plain\r\nX: y"}, "line break"),
    ],
)
def test_invalid_templates_are_refused(settings: dict[str, str], why: str) -> None:
    with pytest.raises(TemplateError, match=why):
        check(**settings)


@pytest.mark.parametrize(
    "url", ["https://$HOST/x", "https://example.com:$PID/", "$LINK", "https://a.$NAME.example/"]
)
def test_placeholders_in_the_host_are_refused(url: str) -> None:
    with pytest.raises(TemplateError, match="and the host"):
        check(url)


def test_forbidden_addresses_are_refused() -> None:
    with pytest.raises(RefusedError):
        check("http://169.254.169.254/$NAME")


@pytest.mark.parametrize("settings", [{"method": "CONNECT"}, {"method": "post"}, {"body": "x" * 70_000}])
def test_settings_beyond_limits_are_refused(settings: dict[str, str]) -> None:
    with pytest.raises(SettingsError):
        check(**settings)


def test_a_body_over_the_limit_keeps_the_newest_log_lines() -> None:
    lines = [f"{number} " + "ü" * 9000 for number in range(10)]
    event = crash_body(process={"log_lines": lines})
    form = render(event, content_type="application/x-www-form-urlencoded", body="text=$LOG")
    assert len(form.body) <= 64 * 1024 and b"9%20%C3%BC" in form.body and b"0%20%C3%BC" not in form.body


def test_a_body_over_the_limit_without_log_loses_the_details_of_the_event() -> None:
    event = crash_body(event={"type": "program.crashed", "data": {"x": "ü" * 20_000}})
    form = render(event, content_type="application/x-www-form-urlencoded", body="body=$BODY")
    assert len(form.body) <= 64 * 1024 and b"truncated" in form.body


def test_bidi_controls_are_removed_from_texts() -> None:
    event = crash_body(summary="in\u202evoice", process={"log_lines": ["a\u2066b"]})
    assert json.loads(render(event, body='{"s": "$SUMMARY", "l": $LOG_JSON}').body) == {
        "s": "invoice",
        "l": ["ab"],
    }


def test_an_oversized_body_is_an_error() -> None:
    with pytest.raises(TemplateError, match="bytes"):
        render(crash_body(summary="x" * 60_000), content_type="text/plain", body="$SUMMARY$SUMMARY")


def test_a_valid_template_is_accepted() -> None:
    check(f"{URL}?n=$NAME", body='{"n": $NAME_JSON, "code": $EXIT_CODE_JSON, "t": "$SUMMARY ($$)"}')


def test_a_header_in_another_spelling_replaces_the_first() -> None:
    request = TEMPLATE.render(CRASH, URL, {"headers": "content-type: a/b\nX-A: 1", "secret_headers": "x-a: 2"})
    assert request.headers == {"content-type": "a/b", "x-a": "2"}


def test_secret_headers_are_secret() -> None:
    assert TEMPLATE.secret_fields() == {"secret_headers"}
    secret = "Authorization: Bearer hemmelig\nX-Key: sesame-open"
    assert {"Bearer hemmelig", "hemmelig", "sesame-open"} <= set(TEMPLATE.secret_texts({"secret_headers": secret}))
    shown = preview("template", {"secret_headers": secret, "body": '{"a": "sesame-open"}'}, CRASH, URL)
    assert "hemmelig" not in str(shown) and "sesame" not in str(shown)
