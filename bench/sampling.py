"""What looking at many processes costs: ours, the loop of psutil, and a Prometheus exporter on the same ones."""

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

from bench.installation import LEAN, environment_in, prepare, run
from bench.processes import free_port, start
from bench.session import say
from bench.table import ratio
from bench.waiting import BenchError, wait_until

EXPORTER = "prometheus-process-exporter"
SCRAPES = 10
TICKS = "import django; django.setup(); from bench.ticks import run; run()"
# By itself the exporter also reads smaps and every thread; ours does neither.
EXPORTERS = {"as it comes": [], "without smaps and threads": ["-gather-smaps=false", "-threads=false"]}
NAME = "benchsleep"  # the exporter picks processes by name; at most 15 letters


@contextmanager
def sleepers(directory: Path, count: int) -> Iterator[list[int]]:
    """So many processes that wait, each in a session of its own as a supervisor starts them."""
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


def ours(directory: Path, pids: list[int]) -> dict[str, float]:
    environment = environment_in(directory)
    prepare(environment)
    printed = run([sys.executable, "-c", TICKS], environment | LEAN, " ".join(map(str, pids)))
    found: dict[str, float] = json.loads(printed)
    return found


def exporter_ms(directory: Path, options: list[str], count: int) -> float:
    """CPU milliseconds of one scrape. Raises BenchError when it does not see all the processes."""
    port, log = free_port(), directory / "exporter.log"
    listen = f"-web.listen-address=127.0.0.1:{port}"
    process = start([EXPORTER, "-procnames", NAME, "-children=false", listen, *options], log=log)
    try:
        wait_until(lambda: bool(scraped(port)), seconds=60, failing="the exporter did not start", log=log)
        if f'num_procs{{groupname="{NAME}"}} {count}' not in scraped(port):
            raise BenchError(f"the exporter does not see {count} processes")
        before = cpu_seconds(process)
        for _ in range(SCRAPES):
            scraped(port)
            time.sleep(0.1)  # its runtime cleans up after each
        return (cpu_seconds(process) - before) * 1000 / SCRAPES
    finally:
        process.kill()
        process.wait()


def scraped(port: int) -> str:
    connection = HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request("GET", "/metrics")
        return connection.getresponse().read().decode()
    except OSError:
        return ""
    finally:
        connection.close()


def cpu_seconds(process: psutil.Process) -> float:
    """Of all its threads, to the nanosecond: `times` counts in hundredths of a second."""
    folder = Path(f"/proc/{process.pid}/task")
    return sum(int((task / "schedstat").read_text().split()[0]) for task in folder.iterdir()) / 1e9


def table_of(directory: Path, counts: list[int]) -> list[list[str]]:
    """CPU time of one look at so many processes; in brackets how many times that of ours with writing it is."""
    lines = [["CPU of one look", *(f"{count:,} processes" for count in counts)]]
    columns = [column(directory / f"look-{count}", count) for count in counts]
    return lines + [
        [label, *cells] for label, *cells in zip(columns[0], *(c.values() for c in columns), strict=True)
    ]


def column(directory: Path, count: int) -> dict[str, str]:
    directory.mkdir()
    say(f"looking at {count:,} processes ...")
    with sleepers(directory, count) as pids:
        found = ours(directory, pids)
        exporters = {label: exporter_ms(directory, options, count) for label, options in EXPORTERS.items()}
    whole = found["sample"] + found["write"]

    def peer(milliseconds: float) -> str:
        return f"{milliseconds:.1f} ms (x{ratio(milliseconds / whole)})"

    return {
        "ours, asleep": f"{found['sample']:.1f} ms",
        "ours, when all of them worked": f"{found['sample_all_anew']:.1f} ms",
        "writing it, tiers included": f"{found['write']:.1f} ms",
        "ours with writing": f"{whole:.1f} ms",
        "writing it, when all of them worked": f"{found['write_all_anew']:.1f} ms",
        "ours with writing, when all worked": f"{found['sample_all_anew'] + found['write_all_anew']:.1f} ms",
        "psutil's oneshot loop": peer(found["psutil"]),
        **{f"{EXPORTER}, {label}": peer(cost) for label, cost in exporters.items()},
        "stored bytes for each point": f"{found['bytes_per_point']:.0f}",
    }
