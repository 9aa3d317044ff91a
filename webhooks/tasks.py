"""The jobs of the queue. Imported before the worker processes fork, with everything that sending needs.

The paths of these functions are stored in the queues of installations: do not rename them.
"""

from __future__ import annotations

import asyncio
import gc

import structlog

from core.retention import ClockError, deletion_time, read_clock

from . import deadman as deadman_switch
from .delivery import retention, worker

log = structlog.get_logger(__name__)
# Each message creates hundreds of short-lived objects: with Python's default thresholds the garbage collector took
# a fifth of the worker's time.
GC_THRESHOLDS = (20_000, 20, 100)


def drain(queue: str) -> None:
    gc.set_threshold(*GC_THRESHOLDS)
    asyncio.run(worker.drain(queue))


def deadman() -> None:
    if deadman_switch.is_healthy() and asyncio.run(deadman_switch.ping()):
        deadman_switch.record_ping()


def prune() -> None:
    try:
        now = deletion_time(read_clock())
    except ClockError as error:
        log.warning("webhooks.prune_refused", reason=str(error))
        return
    if now and (deleted := retention.prune(now)):
        log.info("webhooks.pruned", deliveries=deleted)
