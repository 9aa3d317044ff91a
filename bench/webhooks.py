"""Measures webhooks from event to receiver, and compares with a bare aiohttp loop that posts the same bodies.

usage: python -m bench.webhooks [--events 500] [--rounds 3] [--json FILE]

Agent and jobs run as separate processes on SQLite in a temporary folder. Takes about five minutes.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.monitor import LEAN, MANAGE, environment_in, prepare
from bench.processes import HelperProcess, become_subreaper, start
from bench.runner import Tables, report, say
from bench.table import ratio
from bench.waiting import BenchError, wait_until

WRITER = "import django; django.setup(); from bench.helper_processes.event_writer import main; main()"
CONCURRENCY = 10  # the highest value an endpoint accepts
# Defaults except for the rate: with ten messages a second, the bench would measure that limit.
SETTINGS = {"rate_per_second": 10_000}
ENDPOINTS = 10
IDLE_GAP = 0.2
JOB_ENDED_GAP = 1.5  # a job waits a second for more work: after this gap none is running
STEADY_GAP = 0.05  # twenty events a second
SETTLE_SECONDS = 2.0

Arrivals = dict[str, list[tuple[str, float]]]  # event id → (path, monotonic time)


@dataclass(frozen=True)
class Plan:
    """The sizes of one run. `events` go to each of ten endpoints at once."""

    events: int = 500
    rounds: int = 3
    idle_events: int = 50
    steady_events: int = 100


class Bench:
    """The processes: the monitor's agent and jobs, an event writer, a receiver, and the bare aiohttp loop."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.environment = environment_in(directory)
        self.receiver = self.helper("receiver", "-m", "bench.helper_processes.webhook_receiver")
        self.bare = self.helper("bare", "-m", "bench.helper_processes.bare_aiohttp")
        prepare(self.environment)
        self.writer = self.helper("writer", "-c", WRITER)
        for part in ("agent", "jobs"):
            start([*MANAGE, part], log=directory / f"{part}.log", environment=self.environment)
        self.base = f"http://127.0.0.1:{self.receiver.ask('port')['port']}"

    def helper(self, name: str, *arguments: str) -> HelperProcess:
        log = self.directory / f"{name}.log"
        return HelperProcess([sys.executable, *arguments], log=log, environment=self.environment | LEAN)

    def define(self, healthy: int, hanging: int = 0, **values: Any) -> None:
        """Replace the endpoints of the previous measurement, which also removes their deliveries."""
        kinds = [("ok", healthy), ("hang", hanging)]
        urls = {f"{kind}{n}": f"{self.base}/{kind}{n}" for kind, count in kinds for n in range(count)}
        self.writer.ask("define_endpoints", urls=urls, values=SETTINGS | values)
        time.sleep(SETTLE_SECONDS)
        self.receiver.ask("take")

    def wait_for(self, deliveries: int, seconds: float = 120) -> None:
        def have_arrived() -> bool:
            return bool(self.receiver.ask("count")["count"] >= deliveries)

        failing, log = f"{deliveries} deliveries did not arrive", self.directory / "jobs.log"
        wait_until(have_arrived, seconds=seconds, failing=failing, every=0.05, log=log)

    def arrivals(self) -> Arrivals:
        found: Arrivals = {}
        for at, path, event in self.receiver.ask("take")["arrivals"]:
            found.setdefault(event, []).append((path, at))
        return found

    def check_logs(self) -> None:
        """Raises BenchError if a log has an error that the figures do not show."""
        for path in self.directory.glob("*.log"):
            if "locked" in (text := path.read_text()) or "Traceback" in text:
                raise BenchError(f"{path.name} reports an error:\n{text[-2000:]}")


# --- Latency --------------------------------------------------------------------------------------------


def idle(bench: Bench, events: int) -> list[float]:
    """Milliseconds from before an event is written until the receiver has it, with no other load."""
    bench.define(healthy=1)
    milliseconds = []
    for number in range(events + 1):
        written = bench.writer.ask("write_events")
        bench.wait_for(1, seconds=20)
        ((_, at),) = bench.arrivals()[written["events"][0]]
        milliseconds.append((at - written["began"]) * 1000)
        # Varied, so that events do not follow the rhythm of anything that polls.
        time.sleep(JOB_ENDED_GAP if number % 5 == 0 else IDLE_GAP + 0.013 * (number % 7))
    return milliseconds[1:]


def steady(bench: Bench, healthy: int, hanging: int, events: int) -> list[float]:
    """The same for the healthy endpoints, at a steady rate of events, while `hanging` others never answer."""
    bench.define(healthy, hanging)
    written = bench.writer.ask("write_steadily", count=events, every=STEADY_GAP)["written"]
    began = {event: at for at, event in written}
    found: list[tuple[str, float]] = []
    deadline = time.monotonic() + 30
    while len(found) < healthy * events:
        if time.monotonic() > deadline:
            raise BenchError(f"{len(found)} of {healthy * events} deliveries to the healthy endpoints arrived")
        time.sleep(0.1)
        arrivals = bench.arrivals().items()
        found += [(event, at) for event, came in arrivals for path, at in came if "hang" not in path]
    return [(at - began[event]) * 1000 for event, at in found]


def quantile(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


def latencies(bench: Bench, plan: Plan) -> list[list[str]]:
    alone, calm = "idle, 1 endpoint", "10 healthy"
    crowds = {calm: (10, 0), "10 healthy, 1 hangs": (10, 1), "10 healthy, 10 hang": (10, 10)}
    budgets = [
        (alone, "median 300 ms"),
        (calm, ""),
        ("10 healthy, 1 hangs", "p95 x1.2"),
        ("10 healthy, 10 hang", "p95 2 s"),
    ]
    found = {alone: idle(bench, plan.idle_events)} | {label: [] for label in crowds}
    steady(bench, *crowds[calm], plan.steady_events // 4)  # warm-up, not counted
    # In turns, so that other work on the machine affects all of them.
    for _ in range(plan.rounds):
        for label, (healthy, hanging) in crowds.items():
            found[label] += steady(bench, healthy, hanging, plan.steady_events)
    lines = [["event → received", "deliveries", "median", "p95", "slowest", "budget"]]
    for label, budget in budgets:
        values, p95 = found[label], quantile(found[label], 0.95)
        beside = f" (x{ratio(p95 / quantile(found[calm], 0.95))})" if label not in (alone, calm) else ""
        shown = [f"{statistics.median(values):.1f} ms", f"{p95:.1f} ms{beside}", f"{max(values):.0f} ms"]
        lines.append([label, f"{len(values):,}", *shown, budget])
    return lines


# --- Throughput -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Throughput:
    """Deliveries per second: received, and recorded in the database (0 for the bare loop)."""

    received: float
    recorded: float
    connections: int


def ours(bench: Bench, events: int) -> Throughput:
    """Counts from the first delivery to the last one received, and to the last row written."""
    bench.define(ENDPOINTS, max_concurrency=CONCURRENCY)
    bench.writer.ask("write_events", count=events)
    wanted = events * ENDPOINTS
    bench.wait_for(wanted)
    tally: dict[str, Any] = {}

    def is_recorded() -> bool:
        tally.update(bench.writer.ask("count_deliveries"))
        return bool(tally["states"] == {"delivered": wanted} and tally["attempts"] == wanted)

    wait_until(
        is_recorded, seconds=30, failing="the deliveries were not recorded", log=bench.directory / "jobs.log"
    )
    taken = bench.receiver.ask("take")
    times = [at for at, _, _ in taken["arrivals"]]
    return Throughput(wanted / (max(times) - min(times)), wanted / tally["seconds"], taken["connections"])


def bare(bench: Bench, events: int, *, keep_alive: bool) -> Throughput:
    bodies = bench.writer.ask("newest_bodies", count=events)["bodies"]
    urls = [f"{bench.base}/ok{number}" for number in range(ENDPOINTS)]
    concurrency = ENDPOINTS * CONCURRENCY
    answer = bench.bare.ask("post", urls=urls, bodies=bodies, concurrency=concurrency, keep_alive=keep_alive)
    rate = events * ENDPOINTS / answer["seconds"]
    return Throughput(rate, 0.0, bench.receiver.ask("take")["connections"])


def throughput(bench: Bench, plan: Plan) -> list[list[str]]:
    found: dict[str, list[Throughput]] = {"ours": [], "keep-alive": [], "new": []}
    for _ in range(plan.rounds):
        found["ours"].append(ours(bench, plan.events))
        found["keep-alive"].append(bare(bench, plan.events, keep_alive=True))
        found["new"].append(bare(bench, plan.events, keep_alive=False))
    recorded = statistics.median(each.recorded for each in found["ours"])
    rates = {name: statistics.median(each.received for each in rounds) for name, rounds in found.items()}
    labels = {
        "ours": "ours, received",
        "keep-alive": "bare aiohttp, keep-alive",
        "new": "bare aiohttp, new connection per request",
    }
    lines = [[f"{plan.events * ENDPOINTS:,} deliveries", "per second", "ours, recorded", "connections", "budget"]]
    for name, label in labels.items():
        beside = f"{recorded:,.0f} (x{ratio(recorded / rates[name])})"
        budget = "x0.4" if name == "keep-alive" else ""
        lines.append([label, f"{rates[name]:,.0f}", beside, f"{found[name][-1].connections:,}", budget])
    return lines


# --- The run --------------------------------------------------------------------------------------------


def measure(directory: Path, plan: Plan) -> Tables:
    say("starting ...")
    bench = Bench(directory)
    say("measuring throughput ...")
    tables = [throughput(bench, plan)]
    say("measuring latency, alone and with endpoints that hang ...")
    tables.append(latencies(bench, plan))
    bench.check_logs()
    return tables


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.webhooks", description=__doc__)
    parser.add_argument(
        "--events", type=int, default=Plan.events, help="events sent to each of ten endpoints (default 500)"
    )
    parser.add_argument("--rounds", type=int, default=Plan.rounds, help="rounds of each measurement (default 3)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the tables to FILE")
    options = parser.parse_args(argv)
    become_subreaper()
    plan = Plan(events=options.events, rounds=options.rounds)
    return report(lambda directory: measure(directory, plan), options.json)


if __name__ == "__main__":
    sys.exit(main())
