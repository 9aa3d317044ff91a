"""Alerts from the usage history to the message of an endpoint."""

from __future__ import annotations

from typing import Any

import pytest

from metrics.alerts.tests.factories import NOW, FakeAgent, program, record_host, record_usage, rule
from metrics.tests.fake_writer import Writer, writer
from webhooks.models import WebhookDelivery
from webhooks.outbox import payload
from webhooks.tests.rig import endpoint
from webhooks.transports.message import EventMessage, build_message

__all__ = ["writer"]


def messages() -> list[EventMessage]:
    deliveries = WebhookDelivery.objects.select_related("event__program__host").order_by("event__seq")
    return [build_message(payload.build_one(delivery.event)) for delivery in deliveries]


def test_firing_and_resolved_are_delivered_with_rule_value_and_threshold(writer: Writer) -> None:
    endpoint(events=["alert.*"])
    rule("web is hot", severity="error", clear_threshold=50)
    record_host(NOW, NOW + 300)
    agent, end = FakeAgent(writer), record_usage(program("web"), NOW, [97.5] * 6 + [30] * 10)
    agent.evaluate_each(NOW + 10, end)
    firing, resolved = messages()
    assert firing.headline == "Alert web is hot for web: CPU 97.5 % over 1 min (above 90 %)"
    assert (firing.tone, firing.program) == ("error", "web")
    assert resolved.headline == "Alert web is hot for web resolved after 1 min: recovered"
    assert resolved.tone == "good"
    assert {"CPU", "Threshold"} <= dict(resolved.facts).keys()


@pytest.mark.parametrize(
    ("wanted", "count"),
    [
        ({"events": ["program.*"]}, 0),
        ({"events": ["alert.firing"]}, 1),
        ({"events": ["alert.*"], "min_severity": "warning"}, 2),
        ({"events": ["alert.*"], "min_severity": "error"}, 0),
        ({"events": ["alert.*"], "tags": ["front"]}, 2),
        ({"events": ["alert.*"], "tags": ["back"]}, 0),
        ({"events": ["*"], "conditions": {"attr": "data.rule", "value": "other"}}, 0),
        ({"events": ["*"], "conditions": {"attr": "data.metric", "value": "cpu_percent"}}, 2),
    ],
)
def test_an_endpoint_gets_the_alerts_it_selects(writer: Writer, wanted: dict[str, Any], count: int) -> None:
    endpoint(**wanted)
    rule("hot")
    record_host(NOW, NOW + 300)
    agent, end = FakeAgent(writer), record_usage(program("web", tags=["front"]), NOW, [97.5] * 6 + [30] * 10)
    agent.evaluate_each(NOW + 10, end)
    assert WebhookDelivery.objects.count() == count
