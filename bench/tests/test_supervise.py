from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

PROJECT = Path(__file__).parents[2]
# A small run in a separate process, because the bench becomes the subreaper of everything it starts.
SMALL_RUN = """
import json
from dataclasses import asdict
from bench.managers.bare_loop import BareLoop
from bench.measurements import Plan
from bench.processes import become_subreaper
from bench.supervise import measure
become_subreaper()
plan = Plan(programs=5, kills=2, settle_seconds=0.1, idle_seconds=0.2, flood_lines=10_000)
print(json.dumps(asdict(measure(BareLoop, plan))))
"""
BENCH = ["-m", "bench.supervise", "--programs", "20", "--only", "bare-loop"]


def launch(arguments: list[str], directory: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, *arguments],
        cwd=PROJECT,
        env=os.environ | {"TMPDIR": str(directory)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for(found: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not found():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_small_run_measures_the_bare_loop(tmp_path: Path) -> None:
    output, errors = launch(["-c", SMALL_RUN], tmp_path).communicate(timeout=120)

    result = json.loads(output)
    assert result["failures"] == [], errors
    assert 0 < result["figures"]["restart_median_ms"] < 1000
    assert result["figures"]["flood_lost"] == result["figures"]["flood_damaged"] == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_leaves_neither_processes_nor_files(tmp_path: Path, number: signal.Signals) -> None:
    bench = launch(BENCH, tmp_path)
    wait_for(lambda: len(list(tmp_path.glob("bench-*/starts/*"))) == 20)
    started = psutil.Process(bench.pid).children(recursive=True)

    bench.send_signal(number)
    bench.communicate(timeout=60)

    assert bench.returncode == 128 + number
    assert len(started) > 20 and not psutil.wait_procs(started, timeout=60)[1]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("arguments", [["--only", "nobody"], ["--programs", "19"], ["--programs", "many"]])
def test_invalid_arguments_are_rejected_before_anything_starts(tmp_path: Path, arguments: list[str]) -> None:
    bench = launch(["-m", "bench.supervise", *arguments], tmp_path)

    _, errors = bench.communicate(timeout=60)

    assert bench.returncode == 2 and "error:" in errors
