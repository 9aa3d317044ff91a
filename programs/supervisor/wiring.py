"""Connects the supervisor to the real kernel, event loop, journal and database."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from core import doorbell
from programs.models import Host
from programs.probes import http_request

from . import launch, platform
from .desired_state import DatabaseReader
from .health import make_prober
from .journal import Journal
from .oom import OomDetector
from .ports import Context
from .ports import Journal as JournalPort
from .process_tree import ProcessScanner
from .supervisor import Supervisor


def build_supervisor(host: Host, run_dir: Path) -> Supervisor:
    """Call it inside the event loop that the supervisor is to run in."""
    journal = Journal(run_dir / "journal", host, on_written=partial(doorbell.ring, "web"))
    return Supervisor(host, build_context(journal), DatabaseReader(host), partial(doorbell.listen, "agent"))


def build_context(journal: JournalPort) -> Context:
    return Context(
        system=platform,
        launcher=launch,
        scanner=ProcessScanner(),
        timers=asyncio.get_running_loop(),
        journal=journal,
        out_of_memory=OomDetector(platform.oom_kills, platform.now),
        make_prober=make_prober,
        http_post=_http_post,
        wall_clock=partial(datetime.now, UTC),
        random=random.random,
    )


def _http_post(url: str, seconds: float) -> Awaitable[object]:
    return http_request("POST", url, timeout=seconds)
