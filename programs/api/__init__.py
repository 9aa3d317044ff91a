"""The routes about programs. docs/api.md is their guide."""

from __future__ import annotations

from ninja import Router

from . import definitions, events, logs, status, verbs

router = Router()
for part in (verbs, definitions, events, logs, status):
    router.add_router("", part.router)
