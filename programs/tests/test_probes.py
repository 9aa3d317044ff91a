"""Probe definitions, and probes of ports and logs."""

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

from .probes_rig import hanging, run_probe, serving


def test_the_instance_placeholder_is_replaced() -> None:
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
def test_the_label_of_a_probe_contains_no_secret(kind: Any, target: str, label: str) -> None:
    assert Probe(kind, target).label == label


# --- TCP ---


async def test_a_refused_connection_is_explained(unused_tcp_port: int) -> None:
    for kind, target in [
        ("http", f"http://127.0.0.1:{unused_tcp_port}/"),
        ("tcp", f"127.0.0.1:{unused_tcp_port}"),
    ]:
        result = await run_probe(kind, target)
        assert (result.ok, result.detail) == (False, "connection refused: nothing listens on this port")


async def test_a_listening_port_is_healthy() -> None:
    async with serving(hanging) as port:
        assert (await run_probe("tcp", f"127.0.0.1:{port}")).ok
        assert (await run_probe("tcp", f"localhost:{port}")).ok


@pytest.mark.parametrize("target", ["127.0.0.1:http", "127.0.0.1:0", "127.0.0.1:70000", "127.0.0.1:" + "9" * 5000])
async def test_an_invalid_port_is_a_failed_result(target: str) -> None:
    assert (await run_probe("tcp", target)).detail.endswith("use host:port")


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


async def test_a_text_found_once_counts_from_then_on() -> None:
    log = Lines("starting", "Done (3.2s)! For help, type help")
    context = ProbeContext(new_lines=log)
    assert (await run_probe("log", "Done (", context=context)).ok
    log.lines = ["shutting down"]
    assert (await run_probe("log", "Done (", context=context)).ok
    assert log.reads == 1


async def test_a_text_is_searched_literally_until_it_appears() -> None:
    log = Lines("Done")
    context = ProbeContext(new_lines=log)
    result = await run_probe("log", "D.*e", context=context)
    assert (result.ok, result.detail) == (False, "the text has not appeared in the log")
    log.lines = ["D.*e"]
    assert (await run_probe("log", "D.*e", context=context)).ok


async def test_two_texts_are_found_in_one_pass_over_the_log() -> None:
    context = ProbeContext(new_lines=Lines("first", "second"), wanted_texts={"second"})
    assert (await run_probe("log", "first", context=context)).ok
    assert (await run_probe("log", "second", context=context)).ok


async def test_reading_an_endless_log_stops_at_the_timeout_and_continues_there() -> None:
    def endless() -> Iterator[str]:
        number = 0
        while True:
            number += 1
            yield f"line {number}."

    context = ProbeContext(new_lines=endless)
    result = await run_probe("log", "no such text", timeout=0.1, context=context)
    assert result.detail == "no response within 0.1 s"
    assert next(context.unread_lines) not in ("line 1.", "line 500.")


async def test_an_unreadable_log_is_a_failed_result() -> None:
    def broken() -> Iterator[str]:
        raise PermissionError("Permission denied")

    assert (await run_probe("log", "x", context=ProbeContext(new_lines=broken))).detail == "Permission denied"


def test_probes_import_no_http_library() -> None:
    script = "import sys, programs.probes; sys.exit('aiohttp' in sys.modules or 'requests' in sys.modules)"
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "monitor_site.settings"}
    root = Path(__file__).resolve().parents[2]
    assert subprocess.run([sys.executable, "-c", script], cwd=root, env=environment).returncode == 0
