"""A separate installation of this project in a folder: environment variables, database, commands."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
from pathlib import Path

from bench.waiting import BenchError

PROJECT = Path(__file__).parents[1]
MANAGE = [sys.executable, str(PROJECT / "manage.py")]
USER = "bench"
# Settings of the developer's own monitor must not reach the measured one.
INHERITED = ("PATH", "HOME", "LANG", "TZ", "TMPDIR")
LEAN = {"DJANGO_SETTINGS_MODULE": "monitor_site.settings", "MONITOR_APPS": "lean"}
COMMAND_SECONDS = 900


def environment_in(directory: Path) -> dict[str, str]:
    """Environment variables of an installation with its data in `directory`."""
    return {name: os.environ[name] for name in INHERITED if name in os.environ} | {
        "DATA_DIR": str(directory / "data"),
        "DJANGO_SUPERUSER_USERNAME": USER,
        "DJANGO_SUPERUSER_PASSWORD": secrets.token_urlsafe(24),
        "DJANGO_SUPERUSER_EMAIL": "bench@example.com",
    }


def prepare(environment: dict[str, str]) -> None:
    run([*MANAGE, "prepare"], environment)


def create_token(environment: dict[str, str], scope: str) -> str:
    return run([*MANAGE, "token", "create", "--user", USER, "--scope", scope], environment).split()[-1]


def run(argv: list[str], environment: dict[str, str], standard_input: str = "") -> str:
    """Return what the command prints. Raises BenchError if it fails."""
    done = subprocess.run(
        argv,
        env=environment,
        input=standard_input,
        capture_output=True,
        text=True,
        timeout=COMMAND_SECONDS,
        check=False,
        cwd=PROJECT,
    )
    if done.returncode:
        raise BenchError(f"{' '.join(argv[:4])} failed: {(done.stderr or done.stdout).strip()[-1000:]}")
    return done.stdout
