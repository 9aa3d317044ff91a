"""A monitor of its own in a folder: its environment, its database, and commands run in it."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
from pathlib import Path

from bench.contenders.ours import INHERITED, PROJECT, USER
from bench.waiting import BenchError

LEAN = {"DJANGO_SETTINGS_MODULE": "monitor_site.settings", "MONITOR_APPS": "lean"}
MANAGE = [sys.executable, str(PROJECT / "manage.py")]


def environment_in(directory: Path) -> dict[str, str]:
    return {name: os.environ[name] for name in INHERITED if name in os.environ} | {
        "DATA_DIR": str(directory / "data"),
        "DJANGO_SUPERUSER_USERNAME": USER,
        "DJANGO_SUPERUSER_PASSWORD": secrets.token_urlsafe(24),
        "DJANGO_SUPERUSER_EMAIL": "bench@example.com",
    }


def prepare(environment: dict[str, str]) -> None:
    run([*MANAGE, "prepare"], environment)


def run(argv: list[str], environment: dict[str, str], standard_input: str = "") -> str:
    """What it prints. Raises BenchError."""
    done = subprocess.run(
        argv,
        env=environment,
        input=standard_input,
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
        cwd=PROJECT,
    )
    if done.returncode:
        raise BenchError(f"{' '.join(argv[:4])} failed: {(done.stderr or done.stdout).strip()[-1000:]}")
    return done.stdout
