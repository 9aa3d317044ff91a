"""Reads the settings people may set: from the environment or a `.env` file beside manage.py. Imports no app."""

from __future__ import annotations

import platform
import re
import secrets
from pathlib import Path

import environ

from core.keyfile import key_file

BASE_DIR = Path(__file__).resolve().parent.parent
LOOPBACK_HOSTS = ["localhost", "127.0.0.1", "[::1]"]

env = environ.Env()
env.prefix = ""
environ.Env.read_env(BASE_DIR / ".env")


def data_dir() -> Path:
    """The folder that holds everything this installation owns; made private on first use."""
    path = Path(env.str("DATA_DIR", default="data"))
    path = path if path.is_absolute() else BASE_DIR / path
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    return path


def secret_key(directory: Path) -> str:
    return env.str("SECRET_KEY", default="") or key_file(
        directory / "secret_key", lambda: secrets.token_urlsafe(50)
    )


def host_name(directory: Path) -> str:
    """How this machine is called in the monitor: `HOST_NAME`, else the system's name at the first start.

    It is kept, because the name that a network hands out may change, and programs belong to a host by name.
    """
    return env.str("HOST_NAME", default="") or key_file(
        directory / "host_name", lambda: platform.node() or "localhost"
    )


def bind_parts(bind: str) -> tuple[str, int]:
    """`127.0.0.1:8000`, `[::1]:8000` or `8000` as (host, port). Raises ValueError with what is wrong."""
    match = re.fullmatch(r"(?:(?P<host>\[[0-9a-fA-F:.]+\]|[^:\[\]]+):)?(?P<port>\d{1,5})", bind.strip())
    if not match or int(match["port"]) > 65535:
        raise ValueError(f"{bind!r} is no address to listen on; write host:port, for example 127.0.0.1:8000")
    return (match["host"] or "127.0.0.1").strip("[]"), int(match["port"])
