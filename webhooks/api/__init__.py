"""The webhook routes; see docs/api.md and docs/webhooks.md."""

from __future__ import annotations

from ninja import Router

from . import deliveries, endpoints, formats, mutes

router = Router(tags=["webhooks"])
for part in (endpoints, deliveries, formats, mutes):
    router.add_router("", part.router)
