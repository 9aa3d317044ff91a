"""What is sent to Sentry, checked with a local server in place of Sentry."""

from __future__ import annotations

import gzip
import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from core.errors import sentry
from core.errors.sentry import SentryReporter

from .installation import Installation

TOKEN = "pm_1a2b3c4d_" + "x" * 43


class SentryServer(ThreadingHTTPServer):
    """Collects the events it receives."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), SentryHandler)
        self.events: list[dict[str, Any]] = []
        self.raw: list[str] = []
        self.came = threading.Event()

    @property
    def dsn(self) -> str:
        return f"http://publickey@127.0.0.1:{self.server_port}/42"


class SentryHandler(BaseHTTPRequestHandler):
    server: SentryServer

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        text = (gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body).decode()
        assert self.path == "/api/42/envelope/"
        self.server.raw.append(text)
        self.server.events.append(json.loads(text.split("\n")[2]))
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"{}")
        self.server.came.set()

    def log_message(self, *args: Any) -> None:
        pass


@pytest.fixture
def sentry_server() -> Iterator[SentryServer]:
    server = SentryServer()
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


FAIL = f"""
def login(password):
    raise ValueError("cannot use {TOKEN}")
login("hunter2")
"""


def test_a_process_that_fails_sends_its_error_without_values(
    installation: Installation, sentry_server: SentryServer
) -> None:
    done = installation.run(
        "shell",
        "--verbosity=0",
        "--command",
        FAIL,
        SENTRY_DSN=sentry_server.dsn,
        SENTRY_ENVIRONMENT="attic",
        SECRET="s3cret",
    )
    assert done.returncode == 1
    assert sentry_server.came.wait(30), done.stderr
    [event], [raw] = sentry_server.events, sentry_server.raw
    assert event["exception"]["values"][0]["type"] == "ValueError"
    assert (event["environment"], event["release"]) == ("attic", "program-monitor@0.1.0")
    assert event["tags"]["process"] == "shell"
    frames = event["exception"]["values"][0]["stacktrace"]["frames"]
    assert frames[-1]["function"] == "login"
    assert not [frame for frame in frames if "vars" in frame]
    assert not {"request", "user", "modules", "breadcrumbs"} & {name for name, value in event.items() if value}
    for secret in ("x" * 43, "hunter2", "s3cret", str(installation.folder)):
        assert secret not in raw


def test_without_a_dsn_the_sdk_is_not_loaded(installation: Installation) -> None:
    script = "import sys; print('sentry_sdk' in sys.modules); 1/0"
    done = installation.run("shell", "--verbosity=0", "--command", script)
    assert (done.returncode, done.stdout.strip()) == (1, "False")


def test_an_unreachable_sentry_delays_no_process(installation: Installation) -> None:
    done = installation.run("shell", "--verbosity=0", "--command", "1/0", SENTRY_DSN="http://k@127.0.0.1:9/1")
    assert done.returncode == 1
    assert "ZeroDivisionError" in done.stderr


# --- In this process ------------------------------------------------------------------------------------


class Client:
    """A fake of the SDK's client."""

    options: dict[str, Any] = {}

    def __init__(self) -> None:
        self.events: list[Any] = []

    def capture_event(self, event: Any) -> None:
        self.events.append(event)

    def close(self, timeout: float) -> None:
        pass


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch, settings: Any) -> Client:
    settings.SENTRY_DSN = "http://k@127.0.0.1:9/1"
    made = Client()
    monkeypatch.setattr(sentry, "make_client", lambda: made)
    monkeypatch.setattr(sentry, "sentry_event", lambda report, process, options: report)
    return made


def reporter_at(clock: Callable[[], float]) -> SentryReporter:
    reporter = SentryReporter(clock)
    reporter.open("web")
    return reporter


def test_repeated_errors_are_one_event_a_minute_with_their_number(client: Client) -> None:
    now = [0.0]
    reporter = reporter_at(lambda: now[0])
    for _ in range(500):
        reporter.record(ValueError("x"))
    reporter.record(TypeError("x"))
    now[0] = 60.0
    reporter.record(ValueError("x"))
    reporter.close(30)
    assert [(type(report.error), report.unsent) for report in client.events] == [
        (ValueError, 0),
        (TypeError, 0),
        (ValueError, 499),
    ]


def test_a_failing_client_is_logged_and_stops_nothing(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "capture_event", lambda event: 1 / 0)
    reporter = reporter_at(lambda: 0.0)
    reporter.record(ValueError("x"))
    reporter.close(30)
    monkeypatch.undo()


def test_nothing_is_sent_without_a_dsn(client: Client, settings: Any) -> None:
    settings.SENTRY_DSN = ""
    reporter = reporter_at(lambda: 0.0)
    reporter.record(ValueError("x"))
    reporter.close(30)
    assert client.events == []


@pytest.mark.parametrize(
    "dsn", ["sentry.example/1", "https://sentry.example/1", "https://key@/1", "https://key@sentry.example"]
)
def test_an_invalid_dsn_fails_the_system_check(settings: Any, dsn: str) -> None:
    from core.checks import sentry_dsn

    settings.SENTRY_DSN = dsn
    assert [message.id for message in sentry_dsn(None)] == ["core.E002"]


@pytest.mark.parametrize("dsn", ["", "https://key@sentry.example/1", "http://key@127.0.0.1:9000/path/7"])
def test_a_valid_dsn_passes_the_system_check(settings: Any, dsn: str) -> None:
    from core.checks import sentry_dsn

    settings.SENTRY_DSN = dsn
    assert sentry_dsn(None) == []
