"""Reads settings from the environment or the `.env` file beside manage.py. Imports no app."""

from __future__ import annotations

import contextlib
import math
import platform
import re
import secrets
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import environ
from django.core.exceptions import ImproperlyConfigured

from core.keyfile import key_file
from core.masking import MASK

T = TypeVar("T")

BASE_DIR = Path(__file__).resolve().parent.parent
LOOPBACK_HOSTS = ["localhost", "127.0.0.1", "[::1]"]

env = environ.Env()
env.prefix = ""
environ.Env.read_env(BASE_DIR / ".env")


def invalid_setting(name: str, value: str, expected: str) -> ImproperlyConfigured:
    """An error of one line, without the user and password of a URL."""
    shown = re.sub(r"(?<=://).*@", f"{MASK}@", value)
    return ImproperlyConfigured(f"{name} is {shown!r}; it must be {expected}.")


def float_setting(name: str, default: float) -> float:
    """Raises ImproperlyConfigured, like all functions below."""
    return _read(name, default, _finite, "a number, for example 2.5")


def int_setting(name: str, default: int) -> int:
    return _read(name, default, int, "a whole number, for example 14")


def choice_setting(name: str, default: str, known: Collection[str]) -> str:
    text: str = env.str(name, default="") or default
    if text not in known:
        raise invalid_setting(name, text, " or ".join(known))
    return text


def redis_url() -> str:
    return _read("REDIS_URL", "", _redis, "an address such as redis://127.0.0.1:6379/0")


def database_config(default: str) -> dict[str, Any]:
    """An entry of DATABASES from DATABASE_URL, or from the URL `default`."""
    expected = "an address such as postgres://user:password@host/monitor"
    return _read("DATABASE_URL", env.db_url_config(default), _database, expected)


def _read(name: str, default: T, convert: Callable[[str], T], expected: str) -> T:
    # An empty value counts as not set.
    if not (text := env.str(name, default="").strip()):
        return default
    try:
        return convert(text)
    except ValueError as error:
        raise invalid_setting(name, text, expected) from error


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(text)
    return value


def _redis(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in {"redis", "rediss", "unix"} or parts.port == 0:
        raise ValueError(text)
    return text


def _database(text: str) -> dict[str, Any]:
    if text.partition("://")[0] not in {"postgres", "postgresql", "psql", "pgsql", "sqlite"}:
        raise ValueError(text)
    config: dict[str, Any] = env.db_url_config(text)
    return config


def data_dir() -> Path:
    path = Path(env.str("DATA_DIR", default="data"))
    path = path if path.is_absolute() else BASE_DIR / path
    with _require_writable(path):
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    return path


@contextlib.contextmanager
def _require_writable(directory: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise invalid_setting("DATA_DIR", str(directory), f"a writable folder ({error.strerror})") from error


def secret_key(directory: Path) -> str:
    with _require_writable(directory):
        return env.str("SECRET_KEY", default="") or key_file(
            directory / "secret_key", lambda: secrets.token_urlsafe(50)
        )


def host_name(directory: Path) -> str:
    """HOST_NAME, else the system's name at the first start.

    The name is stored, because programs belong to a host by name and a network may assign another one later.
    """
    with _require_writable(directory):
        return env.str("HOST_NAME", default="") or key_file(
            directory / "host_name", lambda: platform.node() or "localhost"
        )


def bind_parts(bind: str) -> tuple[str, int]:
    """`127.0.0.1:8000`, `[::1]:8000` or `8000` → (host, port). Raises ValueError with a message for the user."""
    match = re.fullmatch(r"(?:(?P<host>\[[0-9a-fA-F:.]+\]|[^:\[\]]+):)?(?P<port>\d{1,5})", bind.strip())
    if not match or int(match["port"]) > 65535:
        raise ValueError(
            f"BIND is {bind!r}, which is not an address to listen on; use host:port, for example 127.0.0.1:8000"
        )
    return (match["host"] or "127.0.0.1").strip("[]"), int(match["port"])
