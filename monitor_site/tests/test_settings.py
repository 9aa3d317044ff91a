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

NUMBER = partial(environment.number, "SAMPLE_SECONDS", 2)
WHOLE = partial(environment.whole, "RAW_HOURS", 24)
LANGUAGE = partial(environment.one_of, "LANGUAGE_CODE", "en", ["en", "ko"])
DATABASE = partial(environment.database_config, "sqlite:///x")

LOAD_THE_AGENT = """
import sys
import manage
sys.modules |= dict.fromkeys(manage.UNNEEDED)
import django
from django.core.management import call_command
django.setup()
call_command("check")
import monitor_site.management.commands.agent
print({"ninja", "pydantic", "unfold", "channels", "django.contrib.admin", "aiohttp"} & {*sys.modules})
"""


def test_the_agent_and_djangos_checks_load_nothing_of_the_web() -> None:
    """It would be a quarter more memory for as long as the agent runs, and half as much again of its start."""
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
        (environment.data_dir, "DATA_DIR", "/dev/null/x", "a folder that can be written (Not a directory)"),
    ],
)
def test_a_refusal_names_the_setting_its_value_and_what_is_expected(
    monkeypatch: pytest.MonkeyPatch, read: Callable[[], Any], name: str, value: str, expected: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ImproperlyConfigured) as refused:
        read()
    assert str(refused.value) == f"{name} is {value!r}; it must be {expected}."


def test_a_refused_address_keeps_its_password_to_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgres://me:pass/word@host:port/x")
    with pytest.raises(ImproperlyConfigured, match=r"postgres://••••••@host:port/x") as refused:
        DATABASE()
    assert "pass/word" not in str(refused.value)


@pytest.mark.parametrize(("value", "seconds"), [("", 2), (" 0.5 ", 0.5), ("3", 3)])
def test_an_empty_number_is_as_good_as_none(monkeypatch: pytest.MonkeyPatch, value: str, seconds: float) -> None:
    monkeypatch.setenv("SAMPLE_SECONDS", value)
    assert NUMBER() == seconds


def test_a_data_folder_that_takes_no_files_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SECRET_KEY", raising=False)
    with pytest.raises(ImproperlyConfigured, match=r"^DATA_DIR is '/proc'; it must be a folder"):
        environment.secret_key(Path("/proc"))


@pytest.mark.parametrize(("given", "seconds"), [({}, 10), ({"keepalives_idle": 60, "sslmode": "require"}, 60)])
def test_a_postgresql_that_vanished_is_given_up_unless_the_url_says_otherwise(
    given: dict[str, Any], seconds: int
) -> None:
    """Its last word may be long ago, or what was sent to it last may never have come."""
    options = database({"ENGINE": "django.db.backends.postgresql", "OPTIONS": given})["OPTIONS"]
    assert options["keepalives_idle"] == seconds
    assert {"keepalives_interval", "keepalives_count", "tcp_user_timeout", "connect_timeout", *given} <= {*options}
