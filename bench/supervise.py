"""Compares this monitor with Supervisor, Circus, PM2 and a bare loop: the same work in one run.

usage: python -m bench.supervise [--programs 100] [--only ours,supervisor,circus,pm2,bare-loop] [--json FILE]

Exits with 1 if a manager could not be installed or measured; the table still shows the others.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

from bench import measurements, table
from bench.managers import MANAGERS
from bench.managers.base import ProcessManager
from bench.measurements import Figures, Plan
from bench.processes import become_subreaper
from bench.runner import exit_on_sigterm, machine, say, temporary_directory
from bench.waiting import BenchError
from bench.workload import LogFlood, Sleepers

DESCRIPTION = "Compare this monitor with Supervisor, Circus, PM2 and a bare loop: the same work in one run."


def measure_supervision(kind: type[ProcessManager], plan: Plan) -> Iterator[Figures]:
    with temporary_directory() as directory:
        sleepers = Sleepers(directory, plan.programs)
        manager = kind(directory)
        manager.launch(sleepers.programs)
        sleepers.clear_records()  # some managers ran the programs once to define them
        yield measurements.start(manager, sleepers)
        time.sleep(plan.settle_seconds)
        yield measurements.restart(sleepers, plan.kills)
        yield measurements.status(manager, plan)
        time.sleep(plan.settle_seconds)
        pids = sleepers.pids()
        yield measurements.idle(manager, pids, plan.idle_seconds)
        yield measurements.memory(manager, pids)


def measure_log_flood(kind: type[ProcessManager], plan: Plan) -> Iterator[Figures]:
    with temporary_directory() as directory:
        flood = LogFlood(
            directory,
            lines=plan.flood_lines,
            bytes_per_second=plan.flood_bytes_per_second,
            rotations=plan.flood_rotations,
        )
        manager = kind(directory)
        manager.launch([flood.program])
        yield measurements.log_flood(manager, flood, plan)


STAGES = {"{programs} programs": measure_supervision, "log flood": measure_log_flood}


@dataclass
class Result:
    """The figures of one manager, and the errors."""

    figures: Figures = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)


def measure(kind: type[ProcessManager], plan: Plan) -> Result:
    result = Result()
    with collect_errors(kind, result):
        kind.install()
        for stage, measure_stage in STAGES.items():
            say(f"{kind.title}: {stage.format(**asdict(plan))} ...")
            with collect_errors(kind, result):
                for figures in measure_stage(kind, plan):
                    result.figures |= figures
    return result


@contextmanager
def collect_errors(kind: type[ProcessManager], result: Result) -> Iterator[None]:
    """Report an error and go on, so that the other managers are measured."""
    try:
        yield
    except BenchError as error:
        result.failures.append(str(error))
        say(f"{kind.title}: {error}")
    except Exception as error:
        result.failures.append(f"{type(error).__name__}: {error}")
        traceback.print_exc()


def arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.supervise", description=DESCRIPTION)
    parser.add_argument("--programs", type=int, default=100, help="number of programs (at least 20)")
    parser.add_argument(
        "--only", default=",".join(MANAGERS), help="names separated by commas (default: %(default)s)"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write all figures to FILE")
    options = parser.parse_args(argv)
    if sys.platform != "linux":
        parser.error("this needs Linux: pidfd, PSS, PR_SET_CHILD_SUBREAPER")
    options.only = options.only.split(",")
    if unknown := [name for name in options.only if name not in MANAGERS]:
        parser.error(f"unknown manager {', '.join(unknown)}; known are {', '.join(MANAGERS)}")
    if options.programs < Plan.kills:
        parser.error(f"--programs must be at least {Plan.kills}, because each kill needs another program")
    return options


def main(argv: list[str] | None = None) -> int:
    options = arguments(argv)
    exit_on_sigterm()
    become_subreaper()
    plan, about = Plan(programs=options.programs), machine()
    results = {name: measure(MANAGERS[name], plan) for name in options.only}
    titles = {name: f"{MANAGERS[name].title} {MANAGERS[name].version}".rstrip() for name in results}
    print(f"{about} at the start\n")
    print(table.render({name: result.figures for name, result in results.items()}, titles, asdict(plan)))
    for name, result in results.items():
        for failure in result.failures:
            print(f"\n{MANAGERS[name].title} could not be measured: {failure}")
    if options.json:
        report: dict[str, object] = {"machine": about, "plan": asdict(plan), "versions": titles}
        report["results"] = {name: asdict(result) for name, result in results.items()}
        options.json.write_text(json.dumps(report, indent=2) + "\n")
    return 1 if any(result.failures for result in results.values()) else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
