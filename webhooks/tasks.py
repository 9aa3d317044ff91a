"""The jobs of the queue. Loaded before the workers fork, with everything that sending needs."""

from __future__ import annotations

import asyncio
import gc

import structlog
from django.utils import timezone

from . import deadman as dead_man
from .delivery import retention
from .delivery import worker as sender

log = structlog.get_logger(__name__)
# Each message makes hundreds of objects, and nearly all are gone as soon as it is answered: at Python's own
# threshold a fifth of the sender's time went into looking for those that are not.
RARE_COLLECTIONS = (20_000, 20, 100)


def drain(lane: str) -> None:
    """Sends what is due in that lane."""
    gc.set_threshold(*RARE_COLLECTIONS)
    asyncio.run(sender.drain(lane))


def deadman() -> None:
    if dead_man.is_well() and asyncio.run(dead_man.ping()):
        dead_man.note()


def prune() -> None:
    if gone := retention.prune(timezone.now()):
        log.info("webhooks.pruned", deliveries=gone)
