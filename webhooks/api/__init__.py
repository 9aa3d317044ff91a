"""The routes about webhooks. docs/api.md and docs/webhooks.md are their guides."""

from __future__ import annotations

from ninja import Router

from . import deliveries, endpoints, formats, health, mutes

router = Router(tags=["webhooks"])
for part in (endpoints, deliveries, health, formats, mutes):
    router.add_router("", part.router)
