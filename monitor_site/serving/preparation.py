"""Runs `manage.py prepare`, which loads every app, in a process of its own, and reads what it reports."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass, field
from typing import Any

from . import platform
from .children import command
from .signals import Signals

POLL_SECONDS = 30.0 if platform.CHILD_SIGNALS else 0.2


class PreparationError(Exception):
    """`prepare` did not succeed; it has said why on stderr."""


class StoppedError(Exception):
    """A signal to stop came first."""


@dataclass(frozen=True)
class Prepared:
    """What `manage.py prepare --json` prints."""

    migrations: int = 0
    administrator: str = ""
    setup_path: str = ""
    warnings: list[str] = field(default_factory=list)


def prepare(signals: Signals) -> Prepared:
    """Migrates and sees to the first administrator. Raises PreparationError, StoppedError.

    A first signal lets a migration that is under way finish; the second ends it.
    """
    environment = {name: value for name, value in os.environ.items() if name != "MONITOR_APPS"}
    with subprocess.Popen(
        command("prepare", "--json"),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        env=environment,
        **platform.isolation(),
    ) as process:
        while process.poll() is None:
            signals.wait(POLL_SECONDS)
            if signals.stops_asked > 1:
                process.kill()
        report = process.stdout.read() if process.stdout else b""
    if signals.stops_asked:
        raise StoppedError
    if process.returncode:
        raise PreparationError
    return _read(report)


def _read(report: bytes) -> Prepared:
    fields: dict[str, Any] = json.loads(report.splitlines()[-1])
    return Prepared(**fields)
