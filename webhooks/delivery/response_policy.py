"""What a response means for a delivery: the table of docs/webhooks.md as data. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

ABORT_HEADER, ABORT_VALUE = "webhook-delivery", "abort-message"
THROTTLING = frozenset({429, 503})


class DeliveryVerdict(StrEnum):
    DELIVERED = "delivered"
    RETRY = "retry"
    THROTTLED = "throttled"  # retry, and pause the whole endpoint for as long as the receiver asked
    GONE = "gone"  # disable the endpoint and cancel its pending deliveries
    REFUSED = "refused"  # no further attempt of this delivery
    BLOCKED = "blocked"  # cannot be sent with the present settings


# The first match counts. Redirects are never followed. Other 4xx are retried: the receiver may be in the middle of
# a deployment.
STATUSES: tuple[tuple[range, DeliveryVerdict], ...] = (
    (range(200, 300), DeliveryVerdict.DELIVERED),
    (range(410, 411), DeliveryVerdict.GONE),
    (range(600), DeliveryVerdict.RETRY),
)


def classify_response(status: int, headers: Mapping[str, str], *, permanent: bool = False) -> DeliveryVerdict:
    """`headers` has lower-case names; `permanent`: the format knows that a retry cannot help."""
    verdict = next((verdict for statuses, verdict in STATUSES if status in statuses), DeliveryVerdict.RETRY)
    # Success, and 410 for the whole endpoint, say more than anything about this delivery alone.
    if verdict is not DeliveryVerdict.RETRY:
        return verdict
    if ABORT_VALUE in (value.strip().lower() for value in headers.get(ABORT_HEADER, "").split(",")):
        return DeliveryVerdict.REFUSED
    if status in THROTTLING and "retry-after" in headers:
        return DeliveryVerdict.THROTTLED
    return DeliveryVerdict.REFUSED if permanent else verdict
