"""The stop ladder by itself, on a real process."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from programs.models import Program
from programs.supervisor import platform
from programs.supervisor.platform import Exit
from programs.supervisor.process_tree import ProcessScanner, Snapshot
from programs.supervisor.run import Run
from programs.supervisor.stopping import KILL, StopResult, StopSequence

from .memory_database import real_context

pytestmark = pytest.mark.usefixtures("launching")
TERM = [{"step": "signal:TERM", "seconds": 20}]


class Blind(ProcessScanner):
    async def scan(self) -> Snapshot:
        raise OSError("no process table")


async def stop(command: str, scanner: ProcessScanner) -> tuple[Run, StopResult]:
    program = Program(pk=1, name="web", command=command, stop_ladder=TERM)
    context = replace(real_context(), scanner=scanner)
    run = Run.spawn(program, 0, lambda run: sequence.main_exited(run.reap(kill_group=False)), context)
    sequence = StopSequence(program, 0, run.identity, run.marker, context)
    return run, await asyncio.wait_for(sequence.run(), 20)


async def test_it_tells_which_step_ended_the_program_and_how_it_ended() -> None:
    run, stopped = await stop("sleep 1000", ProcessScanner())
    assert (stopped.step, stopped.exit, stopped.failed_steps) == ("signal:TERM", Exit(signal="SIGTERM"), [])
    assert not platform.is_running(run.identity)


async def test_a_fault_of_ours_ends_the_program_all_the_same() -> None:
    run, stopped = await stop("sleep 1000", Blind())
    assert (stopped.step, stopped.exit) == (KILL, Exit(signal="SIGKILL"))
    assert stopped.failed_steps == ["no process table"]
    assert not platform.is_running(run.identity)
