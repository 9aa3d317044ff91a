"""The API routes of programs. See docs/api.md."""

from __future__ import annotations

from ninja import Router

from . import actions, definitions, events, logs, status

router = Router()
for part in (actions, definitions, events, logs, status):
    router.add_router("", part.router)
