"""Probes as they are defined, of ports and of logs."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from programs.placeholders import PlaceholderError
from programs.probes import Probe, ProbeContext

from .probes_rig import ask, hanging, serving


def test_the_placeholder_of_the_instance_is_filled_in() -> None:
    probe = Probe.parse({"kind": "tcp", "target": "127.0.0.1:{instance+8100}", "period": 5}, 2)
    assert probe == Probe("tcp", "127.0.0.1:8102", "liveness", 5, 1, 3)


def test_a_misspelt_placeholder_is_refused() -> None:
    with pytest.raises(PlaceholderError):
        Probe.parse({"kind": "tcp", "target": "127.0.0.1:{instances}"}, 0)


@pytest.mark.parametrize(
    ("kind", "target", "label"),
    [
        ("http", "https://user:pa55@host:81/health?token=s3cret", "http https://host:81/health"),
        ("exec", "mysqladmin --password=s3cret ping", "exec mysqladmin"),
        ("tcp", "127.0.0.1:80", "tcp 127.0.0.1:80"),
    ],
)
def test_the_label_of_a_probe_holds_no_secret(kind: Any, target: str, label: str) -> None:
    assert Probe(kind, target).label == label


# --- TCP ---


async def test_a_refused_port_says_that_nobody_listens(unused_tcp_port: int) -> None:
    for kind, target in [
        ("http", f"http://127.0.0.1:{unused_tcp_port}/"),
        ("tcp", f"127.0.0.1:{unused_tcp_port}"),
    ]:
        outcome = await ask(kind, target)
        assert (outcome.ok, outcome.detail) == (False, "connection refused: nobody listens there")


async def test_a_port_that_listens_is_well() -> None:
    async with serving(hanging) as port:
        assert (await ask("tcp", f"127.0.0.1:{port}")).ok
        assert (await ask("tcp", f"localhost:{port}")).ok


@pytest.mark.parametrize("target", ["127.0.0.1:http", "127.0.0.1:0", "127.0.0.1:70000", "127.0.0.1:" + "9" * 5000])
async def test_a_port_that_is_none_is_a_failure_not_an_error(target: str) -> None:
    assert (await ask("tcp", target)).detail.endswith("write host:port")


# --- log ---


class Lines:
    """A log that grows."""

    def __init__(self, *lines: str) -> None:
        self.lines = list(lines)
        self.reads = 0

    def __call__(self) -> Iterator[str]:
        self.reads += 1
        while self.lines:
            yield self.lines.pop(0)


async def test_a_text_that_appeared_once_stays_seen() -> None:
    log = Lines("starting", "Done (3.2s)! For help, type help")
    context = ProbeContext(new_lines=log)
    assert (await ask("log", "Done (", context=context)).ok
    log.lines = ["shutting down"]
    assert (await ask("log", "Done (", context=context)).ok
    assert log.reads == 1


async def test_a_text_is_taken_literally_and_waited_for() -> None:
    log = Lines("Done")
    context = ProbeContext(new_lines=log)
    outcome = await ask("log", "D.*e", context=context)
    assert (outcome.ok, outcome.detail) == (False, "it has not appeared in the log")
    log.lines = ["D.*e"]
    assert (await ask("log", "D.*e", context=context)).ok


async def test_two_texts_are_found_though_the_log_is_read_once() -> None:
    context = ProbeContext(new_lines=Lines("first", "second"), wanted_texts={"second"})
    assert (await ask("log", "first", context=context)).ok
    assert (await ask("log", "second", context=context)).ok


async def test_a_log_that_grows_without_end_stops_at_the_timeout_and_goes_on_there() -> None:
    def endless() -> Iterator[str]:
        number = 0
        while True:
            number += 1
            yield f"line {number}."

    context = ProbeContext(new_lines=endless)
    outcome = await ask("log", "no such text", timeout=0.1, context=context)
    assert outcome.detail == "no answer within 0.1 s"
    assert next(context.unread_lines) not in ("line 1.", "line 500.")


async def test_a_log_that_cannot_be_read_is_a_failure_not_an_error() -> None:
    def broken() -> Iterator[str]:
        raise PermissionError("Permission denied")

    assert (await ask("log", "x", context=ProbeContext(new_lines=broken))).detail == "Permission denied"


def test_probing_loads_no_http_library() -> None:
    script = "import sys, programs.probes; sys.exit('aiohttp' in sys.modules or 'requests' in sys.modules)"
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "monitor_site.settings"}
    root = Path(__file__).resolve().parents[2]
    assert subprocess.run([sys.executable, "-c", script], cwd=root, env=environment).returncode == 0
