"""What an answer means for a delivery: the table that docs/webhooks.md shows, as data."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

ABORT_HEADER, ABORT_VALUE = "webhook-delivery", "abort-message"
THROTTLING = frozenset({429, 503})


class Verdict(StrEnum):
    DELIVERED = "delivered"
    RETRY = "retry"
    THROTTLED = "throttled"  # retry, and the whole endpoint waits as long as it asked
    GONE = "gone"  # the endpoint is switched off, its pending deliveries are cancelled
    REFUSED = "refused"  # no further try of this delivery
    BLOCKED = "blocked"  # cannot be sent as it is set up


# First row that fits. Redirects are never followed, and other 4xx may be a receiver in the middle of a deployment.
STATUSES: tuple[tuple[range, Verdict], ...] = (
    (range(200, 300), Verdict.DELIVERED),
    (range(410, 411), Verdict.GONE),
    (range(600), Verdict.RETRY),
)


def of_answer(status: int, headers: Mapping[str, str], *, permanent: bool = False) -> Verdict:
    """`headers` has lower-case names; `permanent`: the format knows this answer as final."""
    if headers.get(ABORT_HEADER, "").strip().lower() == ABORT_VALUE:
        return Verdict.DELIVERED if 200 <= status < 300 else Verdict.REFUSED
    if status in THROTTLING and "retry-after" in headers:
        return Verdict.THROTTLED
    verdict = next((verdict for statuses, verdict in STATUSES if status in statuses), Verdict.RETRY)
    return Verdict.REFUSED if permanent and verdict is not Verdict.DELIVERED else verdict
