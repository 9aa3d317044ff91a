"""The agent's long-running services. Each app provides its own; one stop event stops all of them."""

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
from monitor_site.serving.signals import reset_for_children
from programs.hosts import HEARTBEAT_SECONDS, this_host
from programs.logs.rotate import LogRotator
from programs.models import Host
from programs.supervisor import platform
from programs.supervisor.supervisor import Supervisor
from programs.supervisor.wiring import build_supervisor
from webhooks.delivery.pump import Pump

log = structlog.get_logger(__name__)
Service = Callable[[asyncio.Event], Coroutine[Any, Any, None]]
SWITCH_SECONDS = 0.0005  # the longest time the writer thread may delay a restart
SERVICE_RETRY_SECONDS = 1.0
EXIT_SECONDS = 10.0  # the journal takes at most five of them


async def run(*, stop_programs: bool) -> None:
    sys.setswitchinterval(SWITCH_SECONDS)
    gc.freeze()  # otherwise a garbage collection over all of Django could delay a restart by 50 ms
    platform.raise_file_limit()
    reset_for_children()
    stop_requested = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop_requested.set)
    host = await _wait_for_host(stop_requested)
    if host is None:
        return
    supervisor = build_supervisor(host, Path(settings.RUN_DIR))
    stop = asyncio.Event()
    supervising = asyncio.create_task(supervisor.run(stop))
    errors.error_buffer.disable_writer_thread()
    services = _services(supervisor)
    service_tasks = [asyncio.create_task(_keep_running(name, service, stop)) for name, service in services.items()]
    await _wait_for_first(stop_requested.wait(), supervising)
    if stop_programs and not supervising.done():
        await supervisor.stop_programs()
    stop.set()
    exit_after(EXIT_SECONDS)
    try:
        await asyncio.gather(supervising, *service_tasks)
    finally:
        await asyncio.to_thread(errors.error_buffer.close)


def exit_after(seconds: float) -> None:
    """Exits this process after `seconds` if it still runs.

    A database that does not respond can block threads for ever, and Python waits for threads at exit. Programs
    keep running, and the journal's file keeps what is not written.
    """

    def give_up() -> None:
        log.warning("agent.exited_without_the_database", after_seconds=seconds)
        logging.shutdown()  # writes the line, since its thread dies with the process
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
        "heartbeat": lambda stop: _send_heartbeats(supervisor, stop),
    }


async def _wait_for_first(stop: Coroutine[Any, Any, Any], task: asyncio.Task[None]) -> None:
    waiting = asyncio.create_task(stop)
    await asyncio.wait({waiting, task}, return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()


async def _wait_for_host(stop: asyncio.Event) -> Host | None:
    """This machine's row, once the database is available; None after a stop request."""
    while not stop.is_set():
        try:
            return await asyncio.to_thread(this_host)
        except DatabaseFault as error:
            log.warning("agent.database_unavailable", error=str(error))
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), SERVICE_RETRY_SECONDS)
    return None


async def _keep_running(name: str, service: Service, stop: asyncio.Event) -> None:
    # Restarts a service that fails, so that it does not affect the supervision of programs.
    bind_contextvars(service=name)  # each task has its own context
    while not stop.is_set():
        try:
            await service(stop)
        except Exception:
            log.exception("agent.service_failed")
            await asyncio.sleep(SERVICE_RETRY_SECONDS)


async def _send_heartbeats(supervisor: Supervisor, stop: asyncio.Event) -> None:
    while not stop.is_set():
        supervisor.heartbeat()
        if errors.error_buffer.has_pending:
            supervisor.journal.put_batch(errors.error_buffer.write)
        try:
            await asyncio.wait_for(stop.wait(), HEARTBEAT_SECONDS)
        except TimeoutError:
            continue
