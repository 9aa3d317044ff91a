"""Ours beside Supervisor, Circus, PM2 and a bare loop, doing the same work in one run.

usage: python -m bench.supervise [--programs 100] [--only ours,supervisor,circus,pm2,floor] [--json FILE]

Exits with 1 when a contender could not be installed or measured; the others are shown all the same.
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

from bench import measures, table
from bench.contender import Contender
from bench.contenders import CONTENDERS
from bench.measures import Figures, Plan
from bench.processes import become_subreaper
from bench.session import exit_when_terminated, machine, say, workplace
from bench.waiting import BenchError
from bench.workload import Flood, Starters

DESCRIPTION = "Ours beside Supervisor, Circus, PM2 and a bare loop, doing the same work in one run."


def measure_supervision(kind: type[Contender], plan: Plan) -> Iterator[Figures]:
    with workplace() as directory:
        starters = Starters(directory, plan.programs)
        contender = kind(directory)
        contender.launch(starters.programs)
        starters.forget()
        yield measures.start(contender, starters)
        time.sleep(plan.settle_seconds)
        yield measures.restart(starters, plan.kills)
        yield measures.status(contender, plan)
        time.sleep(plan.settle_seconds)
        pids = starters.pids()
        yield measures.idle(contender, pids, plan.idle_seconds)
        yield measures.memory(contender, pids)


def measure_flood(kind: type[Contender], plan: Plan) -> Iterator[Figures]:
    with workplace() as directory:
        load = Flood(
            directory,
            lines=plan.flood_lines,
            bytes_per_second=plan.flood_bytes_per_second,
            rotations=plan.flood_rotations,
        )
        contender = kind(directory)
        contender.launch([load.program])
        yield measures.flood(contender, load, plan)


STAGES = {"{programs} programs": measure_supervision, "log flood": measure_flood}


@dataclass
class Result:
    """The figures of one contender, and what went wrong."""

    figures: Figures = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)


def measure(kind: type[Contender], plan: Plan) -> Result:
    result = Result()
    with reported(kind, result):
        kind.install()
        for stage, measure_stage in STAGES.items():
            say(f"{kind.title}: {stage.format(**asdict(plan))} ...")
            with reported(kind, result):
                for figures in measure_stage(kind, plan):
                    result.figures |= figures
    return result


@contextmanager
def reported(kind: type[Contender], result: Result) -> Iterator[None]:
    """A contender that fails is told about; the others are measured all the same."""
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
    parser.add_argument("--programs", type=int, default=100, help="how many programs each runs (at least 20)")
    parser.add_argument(
        "--only", default=",".join(CONTENDERS), help="names with commas between (default: %(default)s)"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write all figures there")
    options = parser.parse_args(argv)
    if sys.platform != "linux":
        parser.error("this needs Linux: pidfd, PSS and the reaping of orphans")
    options.only = options.only.split(",")
    if unknown := [name for name in options.only if name not in CONTENDERS]:
        parser.error(f"unknown contender {', '.join(unknown)}; there are {', '.join(CONTENDERS)}")
    if options.programs < Plan.kills:
        parser.error(f"--programs must be at least {Plan.kills}: each kill takes another program")
    return options


def main(argv: list[str] | None = None) -> int:
    options = arguments(argv)
    exit_when_terminated()
    become_subreaper()
    plan, about = Plan(programs=options.programs), machine()
    results = {name: measure(CONTENDERS[name], plan) for name in options.only}
    titles = {name: f"{CONTENDERS[name].title} {CONTENDERS[name].version}".rstrip() for name in results}
    print(f"{about} at the start\n")
    print(table.render({name: result.figures for name, result in results.items()}, titles, asdict(plan)))
    for name, result in results.items():
        for failure in result.failures:
            print(f"\n{CONTENDERS[name].title} could not be measured: {failure}")
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
