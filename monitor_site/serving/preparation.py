"""Runs `manage.py prepare` in its own process, since it loads every app, and reads its report."""

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
    """`prepare` failed and has printed the reason."""


class PreparationStoppedError(Exception):
    """A stop signal arrived before `prepare` finished."""


@dataclass
class PrepareReport:
    """What `manage.py prepare --json` prints. `setup_path` is set while there is no administrator."""

    migrations: int = 0  # applied
    administrator: str = "exists"  # or "created", "missing"
    setup_path: str = ""
    warnings: list[str] = field(default_factory=list)


def prepare(signals: Signals) -> PrepareReport:
    """Migrates and creates the first administrator. Raises PreparationError, PreparationStoppedError.

    The first stop signal lets a running migration finish, the second kills it.
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
            if signals.stop_requests > 1:
                process.kill()
        output = process.stdout.read() if process.stdout else b""
    if signals.stop_requests:
        raise PreparationStoppedError
    if process.returncode:
        raise PreparationError
    return _parse(output)


def _parse(output: bytes) -> PrepareReport:
    fields: dict[str, Any] = json.loads(output.splitlines()[-1])
    return PrepareReport(**fields)
