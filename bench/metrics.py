"""Compares the cost of sampling with psutil, and of history queries with Prometheus, in one run.

usage: python -m bench.metrics [--only sampling,history] [--calls 100] [--json FILE]

Needs Debian's prometheus (with promtool) and prometheus-process-exporter. `sampling` starts a thousand sleeping
processes; `history` creates 1.9 million rows in a temporary folder. Both together take about four minutes.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import psutil

from bench.monitor import LEAN, MANAGE, create_token, environment_in, prepare, run
from bench.processes import free_port, start
from bench.runner import Tables, report, say
from bench.sampling_cost import EXPORTER, sampling_table
from bench.table import ratio
from bench.waiting import BenchError, wait_until

HOUR, DAY = 3600, 86_400
CONFIGURATION = "global: {scrape_interval: 1h}\n"
EXPORT_READ = 1 << 16
PROCESS_COUNTS = [100, 1000]
LAST_POINT = 590  # seconds from the start of ten minutes to their last point
SETTLED = 1800  # seconds after which no agent writes to a period any more
FILL = (
    "import sys, django; from pathlib import Path; django.setup(); "
    "from bench.history_data import main; main(Path(sys.argv[1]))"
)


class Server:
    """A JSON server, queried over one persistent connection."""

    def __init__(self, process: psutil.Process, port: int, log: Path, headers: dict[str, str]) -> None:
        self.process, self.headers = process, headers
        self.http = HTTPConnection("127.0.0.1", port, timeout=120)
        wait_until(self.is_listening, seconds=60, failing="a server did not start", log=log)

    def is_listening(self) -> bool:
        try:
            self.http.connect()
        except OSError:
            self.http.close()
            return False
        return True

    def open(self, path: str, **headers: str) -> HTTPResponse:
        self.http.request("GET", path, headers=self.headers | headers)
        answer = self.http.getresponse()
        if answer.status != 200:
            raise BenchError(f"{path} returned {answer.status}: {answer.read()[:500].decode()}")
        return answer

    def get(self, path: str) -> Any:
        return json.loads(self.open(path).read())

    def time_ms(self, path: str) -> float:
        """Milliseconds to send the request and read the whole response, without decoding it."""
        began = time.perf_counter()
        self.open(path).read()
        return (time.perf_counter() - began) * 1000


# --- Setup ----------------------------------------------------------------------------------------------


def launch_ours(directory: Path, samples: Path) -> Server:
    environment = environment_in(directory)
    prepare(environment)
    run([sys.executable, "-c", FILL, str(samples)], environment | LEAN)
    key = create_token(environment, "read")
    port, log = free_port(), directory / "web.log"
    web = start([*MANAGE, "web", "--bind", f"127.0.0.1:{port}"], log=log, environment=environment)
    return Server(web, port, log, {"Authorization": f"Bearer {key}"})


def launch_prometheus(directory: Path, samples: Path) -> Server:
    data, configuration = directory / "tsdb", directory / "prometheus.yml"
    configuration.write_text(CONFIGURATION)
    create = ["promtool", "tsdb", "create-blocks-from", "openmetrics", "--max-block-duration=720h"]
    run([*create, str(samples), str(data)], dict(os.environ))
    port, log = free_port(), directory / "prometheus.log"
    options = [
        f"--config.file={configuration}",
        f"--storage.tsdb.path={data}",
        "--storage.tsdb.retention.time=10y",
    ]
    process = start(["prometheus", *options, f"--web.listen-address=127.0.0.1:{port}"], log=log)
    server = Server(process, port, log, {})
    wait_until(lambda: is_ready(server), seconds=60, failing="Prometheus did not become ready", log=log)
    return server


def is_ready(server: Server) -> bool:
    server.http.request("GET", "/-/ready")
    answer = server.http.getresponse()
    answer.read()
    return answer.status == 200


# --- Queries --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Query:
    """Paths of the same query for this monitor and for Prometheus; None where Prometheus is not asked."""

    label: str
    limit_ms: float | None
    ours: str
    theirs: str | None


def range_query(expression: str, start_at: int, end: int, step: int) -> str:
    values = {"query": expression, "start": start_at, "end": end, "step": step}
    return f"/api/v1/query_range?{urlencode(values)}"


def instant_query(expression: str, at: int) -> str:
    return f"/api/v1/query?{urlencode({'query': expression, 'time': at})}"


def queries(first_id: int, now: int) -> list[Query]:
    """Prometheus has every point of the first program, as if scraped, and the minutes of a hundred programs.

    Its ranges look back and include both ends: the ten minutes from 12:00 are the 590 s before 12:09:50. Ours
    caches no range that reaches to the present, only ranges that ended a while ago.
    """
    end = now - now % 600 + 600
    start_at, month = end - 168 * HOUR, now - 30 * DAY
    hundred, ten = (",".join(str(first_id + number) for number in range(count)) for count in (100, 10))
    one = f"/api/metrics/{first_id}?start={start_at}&end={end}&step=600&metrics=cpu_percent"
    settled = one.replace(str(end), str(end - SETTLED)).replace(str(start_at), str(start_at - SETTLED))
    theirs = 'avg_over_time(point_cpu_percent{program="p0000"}[590s])'
    day = "minute_cpu_percent[1d]"
    figures = f"avg_over_time({day}) or max_over_time({day}) or quantile_over_time(0.95, {day})"
    hourly = f"/api/metrics/query?start={month}&step=3600&metrics=cpu_percent&programs={ten}"
    return [
        Query(
            "168 h of one program in 10 min steps",
            None,
            one,
            range_query(theirs, start_at + LAST_POINT, end - 600 + LAST_POINT, 600),
        ),
        Query("the same with min, max and p95", None, f"{one}&aggregates=avg,min,max,p95", None),
        Query(
            "168 h until half an hour ago, cached",
            None,
            settled,
            range_query(theirs, start_at - SETTLED + LAST_POINT, end - SETTLED - 600 + LAST_POINT, 600),
        ),
        Query("the same with min, max and p95", None, f"{settled}&aggregates=avg,min,max,p95", None),
        Query(
            "24 h of 100 programs: avg, max, p95",
            50,
            f"/api/metrics/summary?hours=24&programs={hundred}",
            instant_query(figures, now),
        ),
        Query("24 h of all 1,000 programs", None, "/api/metrics/summary?hours=24&limit=1000", None),
        Query(
            "30 d of 1,000 programs: top 10",
            150,
            f"/api/metrics/summary?start={month}&limit=10",
            instant_query("topk(10, avg_over_time(hour_cpu_percent[30d]))", now),
        ),
        Query(
            "30 d of 10 programs in 1 h steps",
            None,
            hourly,
            range_query('hour_cpu_percent{program=~"p000."}', month, now, HOUR),
        ),
    ]


def check_same_data(ours: Server, theirs: Server, query: Query) -> None:
    """Raises BenchError unless both servers return the same points: otherwise their times cannot be compared."""
    points = ours.get(query.ours)["series"]["cpu_percent"]["avg"]
    samples = theirs.get(query.theirs or "")["data"]["result"][0]["values"]
    if len(points) != len(samples):
        raise BenchError(f"ours has {len(points)} points, Prometheus {len(samples)}")
    for (at, value), (sampled_at, sample) in zip(points, samples, strict=True):
        if at + LAST_POINT != sampled_at or abs(value - float(sample)) > 0.02:
            raise BenchError(f"at {at} ours has {value}, Prometheus {sample} at {sampled_at}")


# --- Export ---------------------------------------------------------------------------------------------


def unshared_memory(process: psutil.Process) -> int:
    """Bytes, without the pages of the mapped database file."""
    found = process.memory_info()
    return int(found.rss - found.shared)


@contextmanager
def peak_memory(process: psutil.Process) -> Iterator[list[int]]:
    """`[before, peak]` in bytes; the peak is updated while the block runs."""
    found = [unshared_memory(process)] * 2
    is_over = threading.Event()

    def watch() -> None:
        while not is_over.wait(0.02):
            found[1] = max(found[1], unshared_memory(process))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield found
    finally:
        is_over.set()
        watcher.join()


def export(server: Server, query: str, **headers: str) -> tuple[float, float, float]:
    """Seconds, MB received and MB by which the server's memory grew."""
    with peak_memory(server.process) as memory:
        began = time.perf_counter()
        answer, received = server.open(f"/api/metrics/export?{query}", **headers), 0
        while piece := answer.read(EXPORT_READ):
            received += len(piece)
        seconds = time.perf_counter() - began
    return seconds, received / 1e6, (memory[1] - memory[0]) / 1e6


def count_lines(answer: HTTPResponse) -> int:
    return sum(piece.count(b"\n") for piece in iter(lambda: answer.read(EXPORT_READ), b""))


EXPORTS: dict[str, tuple[str, dict[str, str]]] = {
    "jsonl": ("tier=minute&format=jsonl", {}),
    "jsonl, gzip": ("tier=minute&format=jsonl", {"Accept-Encoding": "gzip"}),
    "csv": ("tier=minute&format=csv", {}),
}


# --- The run --------------------------------------------------------------------------------------------


def medians(query: Query, ours: Server, theirs: Server, calls: int) -> list[float]:
    """Milliseconds of ours, and of Prometheus if it is asked too."""
    asked = [(ours, query.ours), *([(theirs, query.theirs)] if query.theirs else [])]
    for server, path in asked:
        server.time_ms(path)
    # In turns, so that other work on the machine affects both.
    times = [[server.time_ms(path) for server, path in asked] for _ in range(calls)]
    return [statistics.median(column) for column in zip(*times, strict=True)]


def query_table(ours: Server, theirs: Server, asked: list[Query], calls: int) -> list[list[str]]:
    lines = [["", "ours", "Prometheus", "budget"]]
    for query in asked:
        own, *peers = medians(query, ours, theirs, calls)
        shown = f"{peers[0]:.1f} ms (x{ratio(peers[0] / own)})" if peers else "-"
        limit = "-" if query.limit_ms is None else f"{query.limit_ms:.0f} ms"
        lines.append([query.label, f"{own:.1f} ms", shown, limit])
    return lines


def export_table(ours: Server, start_at: int) -> list[list[str]]:
    rows = count_lines(ours.open(f"/api/metrics/export?tier=minute&start={start_at}"))
    lines = [[f"export of {rows:,} minute rows", "rows/s", "MB", "memory growth"]]
    for label, (query, headers) in EXPORTS.items():
        seconds, received, grown = export(ours, f"{query}&start={start_at}", **headers)
        lines.append([label, f"{rows / seconds:,.0f}", f"{received:.0f}", f"{grown:.1f} MB"])
    return lines


def measure_history(directory: Path, calls: int) -> Tables:
    samples = directory / "samples.txt"
    say("creating the history ...")
    ours = launch_ours(directory, samples)
    say("loading it into Prometheus ...")
    theirs = launch_prometheus(directory, samples)
    first_id = min(item["id"] for item in ours.get("/api/programs?per_page=1&ordering=id")["items"])
    now = int(time.time())
    asked = queries(first_id, now)
    check_same_data(ours, theirs, asked[0])
    say("querying ...")
    # All minute rows: they start with the day a week ago.
    first_day = (now - 7 * DAY) // DAY * DAY
    return [query_table(ours, theirs, asked, calls), export_table(ours, first_day)]


STAGES = ("sampling", "history")
NEEDED = {"sampling": (EXPORTER,), "history": ("prometheus", "promtool")}


def measure(directory: Path, stages: Sequence[str], calls: int) -> Tables:
    tables = [sampling_table(directory, PROCESS_COUNTS)] if "sampling" in stages else []
    return tables + (measure_history(directory, calls) if "history" in stages else [])


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.metrics", description=__doc__)
    parser.add_argument("--calls", type=int, default=100, help="number of calls per query (default 100)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the tables to FILE")
    parser.add_argument(
        "--only", default=",".join(STAGES), help="stages, separated by commas (default: %(default)s)"
    )
    options = parser.parse_args(argv)
    stages = options.only.split(",")
    if unknown := [name for name in stages if name not in STAGES]:
        parser.error(f"unknown stage {unknown[0]}; known are {', '.join(STAGES)}")
    if missing := [name for stage in stages for name in NEEDED[stage] if shutil.which(name) is None]:
        parser.error(f"{missing[0]} is not on PATH")
    return report(lambda directory: measure(directory, stages, options.calls), options.json)


if __name__ == "__main__":
    sys.exit(main())
