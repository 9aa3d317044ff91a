"""The stop ladder by itself, on a real process."""

from __future__ import annotations

import asyncio

import pytest

from programs.models import Program
from programs.supervisor import platform
from programs.supervisor.platform import Exit
from programs.supervisor.process_tree import Scanner, Snapshot
from programs.supervisor.run import Run
from programs.supervisor.stopping import KILL, Ladder, Stopped

pytestmark = pytest.mark.usefixtures("launching")
TERM = [{"step": "signal:TERM", "seconds": 20}]


class Blind(Scanner):
    async def scan(self) -> Snapshot:
        raise OSError("no process table")


async def stop(command: str, scanner: Scanner) -> tuple[Run, Stopped]:
    program = Program(pk=1, name="web", command=command, stop_ladder=TERM)
    run = Run.spawn(program, 0, lambda: ladder.ended(run.reap(kill_group=False)))
    ladder = Ladder(program, 0, run.who, run.marker, scanner)
    stopped = await ladder.run()
    await asyncio.wait_for(ladder.gone.wait(), 20)
    return run, stopped


async def test_it_tells_which_step_ended_the_program_and_how_it_ended() -> None:
    run, stopped = await stop("sleep 1000", Scanner())
    assert (stopped.step, stopped.end, stopped.failed) == ("signal:TERM", Exit(signal="SIGTERM"), [])
    assert not platform.is_running(run.who)


async def test_a_fault_of_ours_ends_the_program_all_the_same() -> None:
    run, stopped = await stop("sleep 1000", Blind())
    assert (stopped.step, stopped.failed) == (KILL, ["no process table"])
    assert not platform.is_running(run.who)
