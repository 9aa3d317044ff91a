"""Which long-running services make up the agent. Each app hands in its own; one stop event ends them all."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import structlog
from django.conf import settings
from django.db import Error as DatabaseFault
from structlog.contextvars import bind_contextvars

from core import errors
from metrics.alerts.service import AlertService
from metrics.collector import Collector
from metrics.storage.retention import Retention
from programs.hosts import HEARTBEAT_SECONDS, this_host
from programs.logs.rotate import LogRotator
from programs.models import Host
from programs.supervisor import platform
from programs.supervisor.supervisor import Supervisor
from webhooks.delivery.pump import Pump

log = structlog.get_logger(__name__)
Service = Callable[[asyncio.Event], Coroutine[Any, Any, None]]
SWITCH_SECONDS = 0.0005  # how long the writer thread may hold up a restart
SERVICE_RETRY_SECONDS = 1.0
END_SECONDS = 10.0  # the journal takes five of them at most


async def run(*, stop_programs: bool) -> None:
    """The agent until SIGTERM or SIGINT; with `stop_programs` it then stops them all first."""
    sys.setswitchinterval(SWITCH_SECONDS)
    gc.freeze()  # or the garbage collector's walks over all of Django would hold up a restart by 50 ms
    platform.raise_file_limit()
    asked = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, asked.set)
    host = await _host(asked)
    if host is None:
        return
    supervisor = Supervisor(host, Path(settings.RUN_DIR))
    stop = asyncio.Event()
    supervising = asyncio.create_task(supervisor.run(stop))
    errors.ledger.leave_writing_to_others()
    services = _services(supervisor)
    beside = [asyncio.create_task(_keep_running(name, service, stop)) for name, service in services.items()]
    await _first_of(asked.wait(), supervising)
    if stop_programs and not supervising.done():
        await supervisor.stop_programs()
    stop.set()
    end_in_time(END_SECONDS)
    try:
        await asyncio.gather(supervising, *beside)
    finally:
        await asyncio.to_thread(errors.ledger.close)


def end_in_time(seconds: float) -> None:
    """Ends this process then, if it is still there: a database that is silent, and not gone, may hold threads for
    ever, and Python waits for each of them. Programs go on, and the journal's file keeps what is not written."""

    def give_up() -> None:
        log.warning("agent.ended_without_the_database", after_seconds=seconds)
        logging.shutdown()  # the line is written by a thread, which would end with the process
        os._exit(1)

    timer = threading.Timer(seconds, give_up)
    timer.daemon = True
    timer.start()


def _services(supervisor: Supervisor) -> dict[str, Service]:
    collector, journal = Collector(supervisor), supervisor.journal
    return {
        "logs": LogRotator(supervisor.logs).run,
        "collector": collector.run,
        "alerts": AlertService(supervisor.host, journal.put_batch, lambda: collector.recorder.recorded_until).run,
        "retention": Retention(journal.put_batch).run,
        "webhooks": Pump().run,
        "heartbeat": lambda stop: _beat(supervisor, stop),
    }


async def _first_of(asked: Coroutine[Any, Any, Any], task: asyncio.Task[None]) -> None:
    waiting = asyncio.create_task(asked)
    await asyncio.wait({waiting, task}, return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()


async def _host(asked: asyncio.Event) -> Host | None:
    """This machine's row; waits for a database that is not there yet. None: asked to stop meanwhile."""
    while not asked.is_set():
        try:
            return await asyncio.to_thread(this_host)
        except DatabaseFault as error:
            log.warning("agent.database_unavailable", error=str(error))
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(asked.wait(), SERVICE_RETRY_SECONDS)
    return None


async def _keep_running(name: str, service: Service, stop: asyncio.Event) -> None:
    """A fault in sampling or log keeping is told and overcome; supervising goes on beside it."""
    bind_contextvars(service=name)  # in this task's own context
    while not stop.is_set():
        try:
            await service(stop)
        except Exception:
            log.exception("agent.service_failed")
            await asyncio.sleep(SERVICE_RETRY_SECONDS)


async def _beat(supervisor: Supervisor, stop: asyncio.Event) -> None:
    while not stop.is_set():
        supervisor.beat()
        if errors.ledger.is_waiting:
            supervisor.journal.put_batch(errors.ledger.write)
        try:
            await asyncio.wait_for(stop.wait(), HEARTBEAT_SECONDS)
        except TimeoutError:
            continue
