"""Fitting messages into what the services of Apprise accept. Nothing is sent."""

from __future__ import annotations

import json
from typing import Any

import apprise
import pytest

from webhooks.tests.sample_bodies import LINK, crash_body, worst_body
from webhooks.transports import get
from webhooks.transports.apprise import child

# Apprise imports modules that Python 3.13 no longer has, where they exist.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

PUSHOVER = "pover://" + "u" * 30 + "@" + "t" * 30
SERVICES = [
    PUSHOVER,
    "pagerduty://" + "i" * 16 + "@" + "a" * 16,
    "d7sms://token1234@15551234567",
    "tgram://123456789:abcdefghij_klmnopqrstuvwxyz/12345678/",
    "tgram://123456789:abcdefghij_klmnopqrstuvwxyz/12345678/?format=markdown",
    "slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ/",
    "ntfy://localhost/topic",
    "mailto://user:password@example.com",
]


def sent(url: str, body: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> tuple[Any, dict[str, Any]]:
    """The service and what Apprise would hand over to it."""
    service = child._service(url)
    assert service is not None
    found: list[dict[str, Any]] = []

    def capture(self: Any, **message: Any) -> bool:
        found.append(message)
        return True

    monkeypatch.setattr(type(service), "send", capture)
    job = json.loads(get("apprise").render(body, url, {}).body)
    assert child._notify(service, job)
    [message] = found
    return service, message


@pytest.mark.parametrize("url", SERVICES)
def test_the_largest_message_fits(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    service, message = sent(url, worst_body(), monkeypatch)
    assert len(message["body"]) <= service.body_maxlen
    assert message["body"].strip()
    assert service.title_maxlen <= 0 or len(message["title"]) <= service.title_maxlen


def test_the_oldest_log_lines_are_left_out_first(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [f"line {number} {'x' * 200}" for number in range(10)]
    _, message = sent(PUSHOVER, crash_body(process={"log_lines": lines}), monkeypatch)
    assert "line 9" in message["body"] and "line 0" not in message["body"]
    assert message["body"].endswith(LINK) and "nas" in message["body"]


def test_a_short_message_is_complete(monkeypatch: pytest.MonkeyPatch) -> None:
    _, message = sent(PUSHOVER, crash_body(), monkeypatch)
    assert "Traceback <most recent>" in message["body"] and message["body"].endswith(LINK)


def test_a_text_message_has_the_headline(monkeypatch: pytest.MonkeyPatch) -> None:
    _, message = sent("d7sms://token1234@15551234567", crash_body(), monkeypatch)
    assert message["body"].startswith("my_web crashed: exit code 1") and len(message["body"]) <= 160


def test_apprise_still_has_the_limits_that_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    service = apprise.Apprise.instantiate(PUSHOVER)
    assert service is not None
    assert (service.body_maxlen, service.title_maxlen) == (1024, 250)
