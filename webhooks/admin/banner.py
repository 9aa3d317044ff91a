"""What every page of the admin says while an endpoint is off that nobody switched off."""

from __future__ import annotations

from webhooks.models import WebhookEndpoint

MOST_NAMED = 5


def disabled_automatically() -> list[WebhookEndpoint]:
    """With `pk`, `name` and `disabled_reason`; at most one more than are named."""
    found = WebhookEndpoint.objects.filter(enabled=False).exclude(disabled_reason="")
    return list(found.only("name", "disabled_reason")[: MOST_NAMED + 1])
