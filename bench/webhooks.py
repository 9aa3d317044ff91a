"""Webhooks from event to receiver, beside a bare aiohttp loop that posts the same bodies to the same receiver.

usage: python -m bench.webhooks [--events 500] [--rounds 3] [--json FILE]

Agent and jobs run as processes of their own on SQLite in a temporary folder. Takes about four minutes.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.contenders.ours import INHERITED, PROJECT
from bench.installation import LEAN, run
from bench.processes import LineClient, become_subreaper, start
from bench.session import Tables, report, say
from bench.table import ratio
from bench.waiting import BenchError, wait_until

WRITER = "import django; django.setup(); from bench.clients.event_writer import main; main()"
AT_A_TIME = 10  # the most an endpoint may be set to
# As it comes, but for the rate: ten a second is for people's chat, and would measure itself.
SETTINGS = {"rate_per_second": 10_000}
ENDPOINTS = 10
IDLE_GAP = 0.2
LINGER_GAP = 1.5  # a job lingers for a second: after this one none is at work
STEADY_GAP = 0.05
SETTLE_SECONDS = 2.0

Arrivals = dict[str, list[tuple[str, float]]]  # by event: paths and moments


@dataclass(frozen=True)
class Plan:
    """How much of everything one run does. `events` go to each of ten endpoints at once."""

    events: int = 500
    rounds: int = 3
    idle_events: int = 50
    steady_events: int = 100


class Bench:
    """A monitor's agent and jobs, one who writes events, a receiver, and the bare loop."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.environment = {name: os.environ[name] for name in INHERITED if name in os.environ} | {
            "DATA_DIR": str(directory / "data")
        }
        self.receiver = self.helper("receiver", "-m", "bench.clients.receiver")
        self.bare = self.helper("bare", "-m", "bench.clients.bare_posts")
        manage = [sys.executable, str(PROJECT / "manage.py")]
        run([*manage, "prepare"], self.environment)
        self.writer = self.helper("writer", "-c", WRITER)
        for part in ("agent", "jobs"):
            start([*manage, part], log=directory / f"{part}.log", environment=self.environment)
        self.base = f"http://127.0.0.1:{self.receiver.ask('port')['port']}"

    def helper(self, name: str, *arguments: str) -> LineClient:
        log = self.directory / f"{name}.log"
        return LineClient([sys.executable, *arguments], log=log, environment=self.environment | LEAN)

    def define(self, healthy: int, hanging: int = 0, **values: Any) -> None:
        """Endpoints in place of those of the measurement before, whose deliveries go with them."""
        kinds = [("ok", healthy), ("hang", hanging)]
        urls = {f"{kind}{n}": f"{self.base}/{kind}{n}" for kind, count in kinds for n in range(count)}
        self.writer.ask("define", urls=urls, values=SETTINGS | values)
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
        """Raises BenchError when anything went wrong on the way that the figures do not show."""
        for path in self.directory.glob("*.log"):
            if "locked" in (text := path.read_text()) or "Traceback" in text:
                raise BenchError(f"{path.name} has a complaint:\n{text[-2000:]}")


# --- Latency --------------------------------------------------------------------------------------------


def idle(bench: Bench, events: int) -> list[float]:
    """Milliseconds from before an event is written to its reception, nothing else going on."""
    bench.define(healthy=1)
    milliseconds = []
    for number in range(events + 1):
        told = bench.writer.ask("happen")
        bench.wait_for(1, seconds=20)
        ((_, at),) = bench.arrivals()[told["events"][0]]
        milliseconds.append((at - told["began"]) * 1000)
        # Not in step with anything that looks at fixed times.
        time.sleep(LINGER_GAP if number % 5 == 0 else IDLE_GAP + 0.013 * (number % 7))
    return milliseconds[1:]


def steady(bench: Bench, healthy: int, hanging: int, events: int) -> list[float]:
    """The same at the healthy ones, while events come and `hanging` others never answer."""
    bench.define(healthy, hanging)
    told = bench.writer.ask("steady", count=events, every=STEADY_GAP)["told"]
    began = {event: at for at, event in told}
    found: list[tuple[str, float]] = []
    deadline = time.monotonic() + 30
    while len(found) < healthy * events:
        if time.monotonic() > deadline:
            raise BenchError(f"of {healthy * events} deliveries to the healthy ones {len(found)} arrived")
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
    steady(bench, *crowds[calm], plan.steady_events // 4)  # the first few bring in what all need; not counted
    # In turns, so that what else the machine does meanwhile meets all of them alike.
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
class Flow:
    received: float
    recorded: float
    connections: int


def ours(bench: Bench, events: int) -> Flow:
    """Deliveries a second: from the first to the last received, and to the last written down."""
    bench.define(ENDPOINTS, max_concurrency=AT_A_TIME)
    bench.writer.ask("happen", count=events)
    wanted = events * ENDPOINTS
    bench.wait_for(wanted)
    told: dict[str, Any] = {}

    def is_recorded() -> bool:
        told.update(bench.writer.ask("tally"))
        return bool(told["states"] == {"delivered": wanted} and told["attempts"] == wanted)

    wait_until(
        is_recorded, seconds=30, failing="the deliveries were not recorded", log=bench.directory / "jobs.log"
    )
    taken = bench.receiver.ask("take")
    moments = [at for at, _, _ in taken["arrivals"]]
    return Flow(wanted / (max(moments) - min(moments)), wanted / told["seconds"], taken["connections"])


def bare(bench: Bench, events: int, *, keeps: bool) -> Flow:
    bodies = bench.writer.ask("newest_bodies", count=events)["bodies"]
    urls = [f"{bench.base}/ok{number}" for number in range(ENDPOINTS)]
    answer = bench.bare.ask("post", urls=urls, bodies=bodies, at_a_time=ENDPOINTS * AT_A_TIME, keeps=keeps)
    rate = events * ENDPOINTS / answer["seconds"]
    return Flow(rate, 0.0, bench.receiver.ask("take")["connections"])


def throughput(bench: Bench, plan: Plan) -> list[list[str]]:
    flows: dict[str, list[Flow]] = {"ours": [], "kept": [], "new": []}
    for _ in range(plan.rounds):
        flows["ours"].append(ours(bench, plan.events))
        flows["kept"].append(bare(bench, plan.events, keeps=True))
        flows["new"].append(bare(bench, plan.events, keeps=False))
    recorded = statistics.median(flow.recorded for flow in flows["ours"])
    rates = {name: statistics.median(flow.received for flow in found) for name, found in flows.items()}
    labels = {
        "ours": "ours, received",
        "kept": "bare aiohttp, connections kept",
        "new": "bare aiohttp, one for each request",
    }
    lines = [[f"{plan.events * ENDPOINTS:,} deliveries", "a second", "ours, recorded", "connections", "budget"]]
    for name, label in labels.items():
        beside = f"{recorded:,.0f} (x{ratio(recorded / rates[name])})"
        budget = "x0.4" if name == "kept" else ""
        lines.append([label, f"{rates[name]:,.0f}", beside, f"{flows[name][-1].connections:,}", budget])
    return lines


# --- The run --------------------------------------------------------------------------------------------


def measure(directory: Path, plan: Plan) -> Tables:
    say("starting ...")
    bench = Bench(directory)
    say("sending as fast as it goes ...")
    tables = [throughput(bench, plan)]
    say("waiting for single ones, and beside endpoints that hang ...")
    tables.append(latencies(bench, plan))
    bench.check_logs()
    return tables


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.webhooks", description=__doc__)
    parser.add_argument("--events", type=int, default=Plan.events, help="to each of ten endpoints (default 500)")
    parser.add_argument("--rounds", type=int, default=Plan.rounds, help="of each measurement (default 3)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the tables there")
    options = parser.parse_args(argv)
    become_subreaper()
    plan = Plan(events=options.events, rounds=options.rounds)
    return report(lambda directory: measure(directory, plan), options.json)


if __name__ == "__main__":
    sys.exit(main())
