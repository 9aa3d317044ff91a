from __future__ import annotations

import json
import socket
import sys
from pathlib import Path

import pytest

from bench.helper_processes.bare_aiohttp import post
from bench.processes import HelperProcess
from bench.webhooks import quantile


def test_the_receiver_records_every_body_and_counts_the_connections(tmp_path: Path) -> None:
    receiver = HelperProcess(
        [sys.executable, "-m", "bench.helper_processes.webhook_receiver"], log=tmp_path / "log"
    )
    url = f"http://127.0.0.1:{receiver.ask('port')['port']}/ok"
    bodies = [json.dumps({"id": f"evt_{number}", "padding": "x" * 100_000}) for number in range(6)]

    post([url], bodies, concurrency=2, keep_alive=True)
    kept = receiver.ask("take")
    post([url], bodies, concurrency=2, keep_alive=False)
    new = receiver.ask("take")
    receiver.process.communicate(timeout=60)

    assert sorted(event for _, _, event in kept["arrivals"]) == [f"evt_{number}" for number in range(6)]
    assert (kept["connections"], new["connections"]) == (2, 6)


def test_a_path_with_hang_gets_no_answer_and_delays_no_other(tmp_path: Path) -> None:
    receiver = HelperProcess(
        [sys.executable, "-m", "bench.helper_processes.webhook_receiver"], log=tmp_path / "log"
    )
    base = f"http://127.0.0.1:{receiver.ask('port')['port']}"

    with socket.create_connection(("127.0.0.1", int(base.rpartition(":")[2]))) as hanging:
        hanging.sendall(b'POST /hang HTTP/1.1\r\nContent-Length: 15\r\n\r\n{"id": "evt_1"}')
        post([f"{base}/ok"], ['{"id": "evt_2"}'], concurrency=1, keep_alive=True)
        hanging.setblocking(False)
        with pytest.raises(BlockingIOError):
            hanging.recv(1)
    arrivals = receiver.ask("take")["arrivals"]
    receiver.process.communicate(timeout=60)

    assert [(path, event) for _, path, event in arrivals] == [("/hang", "evt_1"), ("/ok", "evt_2")]


def test_a_quantile_of_few_values_is_one_of_them() -> None:
    assert [quantile([3.0, 1.0, 2.0], share) for share in (0.0, 0.5, 0.95, 1.0)] == [1.0, 2.0, 3.0, 3.0]
