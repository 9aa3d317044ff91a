from __future__ import annotations

import pytest

from webhooks.delivery.response_policy import DeliveryVerdict, classify_response


@pytest.mark.parametrize(
    ("status", "headers", "verdict"),
    [
        (200, {}, DeliveryVerdict.DELIVERED),
        (299, {}, DeliveryVerdict.DELIVERED),
        (302, {"location": "x"}, DeliveryVerdict.RETRY),
        (400, {}, DeliveryVerdict.RETRY),
        (404, {}, DeliveryVerdict.RETRY),
        (408, {}, DeliveryVerdict.RETRY),
        (410, {}, DeliveryVerdict.GONE),
        (429, {}, DeliveryVerdict.RETRY),
        (429, {"retry-after": "5"}, DeliveryVerdict.THROTTLED),
        (503, {"retry-after": "5"}, DeliveryVerdict.THROTTLED),
        (500, {"retry-after": "5"}, DeliveryVerdict.RETRY),
        (500, {"webhook-delivery": "abort-message"}, DeliveryVerdict.REFUSED),
        (200, {"webhook-delivery": "abort-message"}, DeliveryVerdict.DELIVERED),
        (500, {"webhook-delivery": "abort-message, abort-message"}, DeliveryVerdict.REFUSED),
        (410, {"webhook-delivery": "abort-message"}, DeliveryVerdict.GONE),
        (999, {}, DeliveryVerdict.RETRY),
    ],
)
def test_each_response_has_its_verdict(status: int, headers: dict[str, str], verdict: DeliveryVerdict) -> None:
    assert classify_response(status, headers) is verdict


def test_a_format_can_declare_a_response_permanent() -> None:
    assert classify_response(404, {}, permanent=True) is DeliveryVerdict.REFUSED
    assert classify_response(204, {}, permanent=True) is DeliveryVerdict.DELIVERED
    assert classify_response(410, {}, permanent=True) is DeliveryVerdict.GONE
