"""CPU cost of sampling the same processes with our agent, a psutil loop and a Prometheus exporter."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path

import psutil

from bench.monitor import LEAN, environment_in, prepare, run
from bench.processes import free_port, start
from bench.runner import say
from bench.table import ratio
from bench.waiting import BenchError, wait_until

EXPORTER = "prometheus-process-exporter"
SCRAPES = 10
AGENT_SAMPLING = "import django; django.setup(); from bench.agent_sampling import run; run()"
# By default the exporter also reads smaps and every thread, which ours does not.
EXPORTERS = {"defaults": [], "without smaps and threads": ["-gather-smaps=false", "-threads=false"]}
NAME = "benchsleep"  # the exporter selects processes by name, which has at most 15 letters


@contextmanager
def sleeping_processes(directory: Path, count: int) -> Iterator[list[int]]:
    """Their pids. Each has a session of its own, as under a supervisor."""
    link = directory / NAME
    link.unlink(missing_ok=True)
    link.symlink_to("/bin/sleep")
    started = [
        subprocess.Popen([link, "100000"], start_new_session=True, stdin=subprocess.DEVNULL) for _ in range(count)
    ]
    try:
        yield [process.pid for process in started]
    finally:
        for process in started:
            process.kill()
        for process in started:
            process.wait()


def measure_ours(directory: Path, pids: list[int]) -> dict[str, float]:
    environment = environment_in(directory)
    prepare(environment)
    printed = run([sys.executable, "-c", AGENT_SAMPLING], environment | LEAN, " ".join(map(str, pids)))
    found: dict[str, float] = json.loads(printed)
    return found


def exporter_ms(directory: Path, options: list[str], count: int) -> float:
    """CPU milliseconds of one scrape. Raises BenchError if the exporter does not see all processes."""
    port, log = free_port(), directory / "exporter.log"
    listen = f"-web.listen-address=127.0.0.1:{port}"
    process = start([EXPORTER, "-procnames", NAME, "-children=false", listen, *options], log=log)
    try:
        wait_until(lambda: bool(scrape(port)), seconds=60, failing="the exporter did not start", log=log)
        if f'num_procs{{groupname="{NAME}"}} {count}' not in scrape(port):
            raise BenchError(f"the exporter does not see {count} processes")
        before = cpu_seconds(process)
        for _ in range(SCRAPES):
            scrape(port)
            time.sleep(0.1)  # time for the garbage collector of its runtime
        return (cpu_seconds(process) - before) * 1000 / SCRAPES
    finally:
        process.kill()
        process.wait()


def scrape(port: int) -> str:
    """The exposition; empty while the exporter does not listen."""
    connection = HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request("GET", "/metrics")
        return connection.getresponse().read().decode()
    except OSError:
        return ""
    finally:
        connection.close()


def cpu_seconds(process: psutil.Process) -> float:
    # schedstat has nanoseconds; `cpu_times` has only hundredths of a second.
    folder = Path(f"/proc/{process.pid}/task")
    return sum(int((task / "schedstat").read_text().split()[0]) for task in folder.iterdir()) / 1e9


def sampling_table(directory: Path, counts: list[int]) -> list[list[str]]:
    """CPU time per sample. Ratios compare with our sampling and recording of idle processes."""
    lines = [["CPU time per sample", *(f"{count:,} processes" for count in counts)]]
    columns = [column(directory / f"sampling-{count}", count) for count in counts]
    return lines + [
        [label, *cells] for label, *cells in zip(columns[0], *(c.values() for c in columns), strict=True)
    ]


def column(directory: Path, count: int) -> dict[str, str]:
    directory.mkdir()
    say(f"sampling {count:,} processes ...")
    with sleeping_processes(directory, count) as pids:
        found = measure_ours(directory, pids)
        exporters = {label: exporter_ms(directory, options, count) for label, options in EXPORTERS.items()}
    total = found["sample"] + found["record"]

    def peer(milliseconds: float) -> str:
        return f"{milliseconds:.1f} ms (x{ratio(milliseconds / total)})"

    return {
        "ours: sampling, all idle": f"{found['sample']:.1f} ms",
        "ours: sampling, all busy": f"{found['sample_busy']:.1f} ms",
        "ours: recording, all idle": f"{found['record']:.1f} ms",
        "ours: sampling and recording, all idle": f"{total:.1f} ms",
        "ours: recording, all busy": f"{found['record_busy']:.1f} ms",
        "ours: sampling and recording, all busy": f"{found['sample_busy'] + found['record_busy']:.1f} ms",
        "psutil oneshot loop": peer(found["psutil"]),
        **{f"{EXPORTER}, {label}": peer(cost) for label, cost in exporters.items()},
        "stored bytes per point": f"{found['bytes_per_point']:.0f}",
    }
