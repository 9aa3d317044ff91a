from __future__ import annotations

import json
import logging
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog
from django.conf import settings as django_settings
from django.http import HttpRequest, HttpResponse
from django.test import AsyncClient, Client, RequestFactory
from structlog.testing import capture_logs

from core import observability
from core.log_context import current_request_id
from core.observability import BackgroundHandler, RequestLogMiddleware, line_formatter

TOKEN = "pm_1a2b3c4d_" + "x" * 43


@pytest.fixture
def lines() -> Iterator[Callable[[str], list[str]]]:
    """`lines("json")` adds a handler and returns the list of its lines."""
    logger = logging.getLogger("core.tests.sample")
    logger.setLevel(logging.DEBUG)

    def collect(kind: str) -> list[str]:
        found: list[str] = []
        handler = logging.Handler()
        handler.setFormatter(line_formatter(kind))
        handler.emit = lambda record: found.append(handler.format(record))  # type: ignore[method-assign]
        logger.addHandler(handler)
        return found

    yield collect
    logger.handlers.clear()


def test_structlog_and_the_standard_library_have_the_same_format(lines: Callable[[str], list[str]]) -> None:
    found = lines("json")
    structlog.get_logger("core.tests.sample").info("hello", pid=7)
    logging.getLogger("core.tests.sample").warning("hello %s", "world")
    ours, theirs = (json.loads(line) for line in found)
    assert ours["event"] == "hello"
    assert ours["pid"] == 7
    assert (theirs["event"], theirs["level"], theirs["logger"]) == ("hello world", "warning", "core.tests.sample")
    assert ours.keys() - {"pid"} == theirs.keys()
    assert theirs["timestamp"].endswith("Z")


@pytest.mark.parametrize("kind", ["json", "console", "nonsense"])
def test_secrets_are_masked(lines: Callable[[str], list[str]], kind: str) -> None:
    found = lines(kind)
    log = structlog.get_logger("core.tests.sample")
    log.info("login", password="hunter2", headers={"Authorization": "hunter2"}, note=f"used {TOKEN}")
    log.info(f"Bearer {TOKEN} and postgres://bob:hunter2@db/x and whsec_{'y' * 32}")
    logging.getLogger("core.tests.sample").info("got %s", TOKEN)
    assert len(found) == 3
    for secret in ("hunter2", "x" * 43, "y" * 32):
        assert secret not in "".join(found)


@pytest.mark.parametrize("kind", ["json", "console"])
def test_a_traceback_has_no_local_variables(lines: Callable[[str], list[str]], kind: str) -> None:
    found = lines(kind)
    hidden_local = "hunter" + str(2)
    try:
        raise RuntimeError(f"could not use {TOKEN}")
    except RuntimeError:
        structlog.get_logger("core.tests.sample").exception("failed")
    assert hidden_local not in found[0]
    assert "RuntimeError: could not use pm_1a2b3c4d_" in found[0]
    assert "x" * 43 not in found[0]


def test_a_message_cannot_forge_lines_or_control_the_terminal(lines: Callable[[str], list[str]]) -> None:
    found = lines("console")
    logging.getLogger("core.tests.sample").info("one\n2026-01-01 [info] forged\x1b[2J")
    structlog.get_logger("core.tests.sample").info("two", path="a\n[info] forged\x1b[2J")
    assert not re.search(r"^(\S+ )?\[info", found[0].split("\n", 1)[1])
    assert "\n" not in found[1]
    assert "\x1b" not in "".join(found)


@pytest.mark.parametrize("kind", ["console", "json"])
def test_a_request_that_django_refuses_is_one_line(kind: str) -> None:
    why = (ValueError, ValueError("why"), None)
    record = logging.LogRecord("django.security.DisallowedHost", logging.ERROR, "f.py", 1, "Unknown name", (), why)
    line = line_formatter(kind).format(record)
    assert ("warning" in line, "Unknown name" in line) == (True, True)
    assert ("why" in line, "\n" in line) == (False, False)


def test_every_line_has_the_name_of_the_process(lines: Callable[[str], list[str]], monkeypatch: Any) -> None:
    monkeypatch.setitem(observability._process, "name", "agent")
    found = lines("json")
    logging.getLogger("core.tests.sample").info("x")
    assert json.loads(found[0])["process"] == "agent"


# --- Processes ------------------------------------------------------------------------------------------

PROGRAM = """
import logging, sys
import django
django.setup()
from core.observability import configure
logging.getLogger("library").info("before")
if len(sys.argv) > 1:
    configure(sys.argv[1], background=True)
logging.getLogger("library").info("after")
logging.getLogger("library").warning("careful")
logging.shutdown()
"""


def run_program(tmp_path: Path, *arguments: str, **environment: str) -> str:
    env = os.environ | {"DATA_DIR": str(tmp_path), "DJANGO_SETTINGS_MODULE": "monitor_site.settings"}
    env |= {"MONITOR_APPS": "lean", "LOG_FORMAT": "json"} | environment
    command = [sys.executable, "-c", PROGRAM, *arguments]
    done = subprocess.run(
        command, env=env, cwd=django_settings.BASE_DIR, capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout == ""
    return done.stderr


def test_a_command_logs_only_warnings(tmp_path: Path) -> None:
    events = [json.loads(line)["event"] for line in run_program(tmp_path).splitlines()]
    assert events == ["careful"]


def test_a_process_logs_at_the_configured_level(tmp_path: Path) -> None:
    found = [json.loads(line) for line in run_program(tmp_path, "agent", LOG_LEVEL="info").splitlines()]
    assert [(line["event"], line["process"]) for line in found] == [("after", "agent"), ("careful", "agent")]


def test_an_unknown_level_is_reported_and_means_info(tmp_path: Path, settings: Any) -> None:
    assert "after" in run_program(tmp_path, "agent", LOG_LEVEL="loud")
    settings.LOG_LEVEL = "LOUD"
    from core.checks import log_level

    assert [message.id for message in log_level(None)] == ["core.E001"]


def test_a_reader_that_stops_reading_does_not_block_the_writer() -> None:
    reading, writing = os.pipe()
    handler = BackgroundHandler(writing, capacity=10)
    logger = logging.Logger("sample")
    logger.addHandler(handler)
    for n in range(200):
        logger.info("%d %s", n, "x" * 10_000)
    os.set_blocking(reading, False)
    seen = b""
    while b"were dropped" not in seen:
        with open(reading, "rb", buffering=0, closefd=False) as pipe:
            seen += pipe.read(1_000_000) or b""
    handler.close()
    os.close(reading)
    os.close(writing)
    assert seen.startswith(b"0 x")
    assert seen.count(b"\n") < 200


def test_a_closed_reader_is_ignored() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    handler = BackgroundHandler(writing)
    handler.handle(logging.makeLogRecord({"msg": "x"}))
    handler.close()
    os.close(writing)
    assert not handler._thread.is_alive()


# --- Requests -------------------------------------------------------------------------------------------


def respond(request: HttpRequest) -> HttpResponse:
    return HttpResponse(current_request_id())


@pytest.fixture
def logged(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    logging.getLogger("core.observability").setLevel(logging.DEBUG)
    with capture_logs() as found:
        yield found
    logging.getLogger("core.observability").setLevel(logging.NOTSET)


def test_each_request_logs_one_line_without_its_query(logged: list[Any]) -> None:
    response = RequestLogMiddleware(respond)(RequestFactory().get("/api/x?token=hunter2"))
    assert isinstance(response, HttpResponse)
    [line] = logged
    assert (line["event"], line["method"], line["path"], line["status"]) == ("request", "GET", "/api/x", 200)
    assert (line["route"], line["ms"] >= 0) == ("none", True)
    assert response["X-Request-ID"] == response.content.decode()
    assert current_request_id() == ""


async def test_an_asynchronous_request_logs_the_same_line(logged: list[Any]) -> None:
    async def respond_async(request: HttpRequest) -> HttpResponse:
        return respond(request)

    response: Any = RequestLogMiddleware(respond_async)(RequestFactory().get("/x"))
    response = await response
    assert logged[0]["path"] == "/x"
    assert response["X-Request-ID"] == response.content.decode()


@pytest.mark.parametrize(("given", "kept"), [("abc-123_4.5", True), ("a b\tc forged", False), ("x" * 65, False)])
def test_a_valid_request_id_of_the_client_is_used(given: str, kept: bool) -> None:
    response: Any = RequestLogMiddleware(respond)(RequestFactory().get("/", HTTP_X_REQUEST_ID=given))
    assert (response["X-Request-ID"] == given) is kept


@pytest.mark.django_db
def test_every_response_has_a_request_id() -> None:
    ids = {Client().get(path)["X-Request-ID"] for path in ("/admin/login/", "/no/such/page", "/static/none.js")}
    assert len(ids) == 3


@pytest.mark.django_db(transaction=True)
async def test_every_response_under_asgi_has_a_request_id() -> None:
    assert (await AsyncClient().get("/admin/login/"))["X-Request-ID"]
