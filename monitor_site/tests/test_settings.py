from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured

from monitor_site import environment
from monitor_site.environment import BASE_DIR
from monitor_site.settings import database

NUMBER = partial(environment.float_setting, "SAMPLE_SECONDS", 2)
WHOLE = partial(environment.int_setting, "RAW_HOURS", 24)
LANGUAGE = partial(environment.choice_setting, "LANGUAGE_CODE", "en", ["en", "ko"])
DATABASE = partial(environment.database_config, "sqlite:///x")

LOAD_THE_AGENT = """
import sys
import manage
sys.modules |= dict.fromkeys(manage.BLOCKED_IN_LEAN)
import django
from django.core.management import call_command
django.setup()
call_command("check")
import monitor_site.management.commands.agent
print({"ninja", "pydantic", "unfold", "channels", "django.contrib.admin", "aiohttp"} & {*sys.modules})
"""


def test_the_agent_and_the_system_checks_do_not_load_the_web_apps() -> None:
    """The web apps would take a quarter more memory and make the start half as long again."""
    environment = {**os.environ, "MONITOR_APPS": "lean", "DJANGO_SETTINGS_MODULE": "monitor_site.settings"}
    done = subprocess.run(
        [sys.executable, "-c", LOAD_THE_AGENT],
        cwd=BASE_DIR,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout.splitlines()[-1:] == ["set()"], done.stderr


@pytest.mark.parametrize(
    ("read", "name", "value", "expected"),
    [
        (NUMBER, "SAMPLE_SECONDS", "x", "a number, for example 2.5"),
        (NUMBER, "SAMPLE_SECONDS", "nan", "a number, for example 2.5"),
        (NUMBER, "SAMPLE_SECONDS", "2 s", "a number, for example 2.5"),
        (WHOLE, "RAW_HOURS", "1.5", "a whole number, for example 14"),
        (LANGUAGE, "LANGUAGE_CODE", "xx", "en or ko"),
        (environment.redis_url, "REDIS_URL", "localhost", "an address such as redis://127.0.0.1:6379/0"),
        (environment.redis_url, "REDIS_URL", "redis://h:port", "an address such as redis://127.0.0.1:6379/0"),
        (DATABASE, "DATABASE_URL", "monitor", "an address such as postgres://user:password@host/monitor"),
        (DATABASE, "DATABASE_URL", "mysql://h/x", "an address such as postgres://user:password@host/monitor"),
        (environment.data_dir, "DATA_DIR", "/dev/null/x", "a writable folder (Not a directory)"),
    ],
)
def test_an_error_names_the_setting_its_value_and_what_is_expected(
    monkeypatch: pytest.MonkeyPatch, read: Callable[[], Any], name: str, value: str, expected: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ImproperlyConfigured) as refused:
        read()
    assert str(refused.value) == f"{name} is {value!r}; it must be {expected}."


def test_an_error_does_not_contain_the_password_of_a_url(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgres://me:pass/word@host:port/x")
    with pytest.raises(ImproperlyConfigured, match=r"postgres://••••••@host:port/x") as refused:
        DATABASE()
    assert "pass/word" not in str(refused.value)


@pytest.mark.parametrize(("value", "seconds"), [("", 2), (" 0.5 ", 0.5), ("3", 3)])
def test_an_empty_value_counts_as_not_set(monkeypatch: pytest.MonkeyPatch, value: str, seconds: float) -> None:
    monkeypatch.setenv("SAMPLE_SECONDS", value)
    assert NUMBER() == seconds


def test_an_unwritable_data_folder_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SECRET_KEY", raising=False)
    with pytest.raises(ImproperlyConfigured, match=r"^DATA_DIR is '/proc'; it must be a writable folder"):
        environment.secret_key(Path("/proc"))


@pytest.mark.parametrize(("given", "seconds"), [({}, 10), ({"keepalives_idle": 60, "sslmode": "require"}, 60)])
def test_connections_to_a_vanished_postgresql_time_out(given: dict[str, Any], seconds: int) -> None:
    """The connection may have been idle, or the last data sent may never have arrived."""
    options = database({"ENGINE": "django.db.backends.postgresql", "OPTIONS": given})["OPTIONS"]
    assert options["keepalives_idle"] == seconds
    assert {"keepalives_interval", "keepalives_count", "tcp_user_timeout", "connect_timeout", *given} <= {*options}
