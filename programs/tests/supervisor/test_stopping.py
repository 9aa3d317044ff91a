"""Stop steps on real processes, without an agent."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

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


async def stop(command: str, scanner: ProcessScanner, **fields: Any) -> tuple[Run, StopResult]:
    program = Program(pk=1, name="web", command=command, **{"stop_ladder": TERM, **fields})
    context = replace(real_context(), scanner=scanner)
    run = Run.spawn(program, 0, lambda run: sequence.main_exited(run.reap(kill_group=False)), context)
    sequence = StopSequence(program, 0, run.identity, run.marker, context)
    return run, await asyncio.wait_for(sequence.run(), 20)


async def test_the_result_says_which_step_stopped_the_program_and_how_it_exited() -> None:
    run, stopped = await stop("sleep 1000", ProcessScanner())
    assert (stopped.step, stopped.exit, stopped.failed_steps) == ("signal:TERM", Exit(signal="SIGTERM"), [])
    assert not platform.is_running(run.identity)


async def test_a_program_is_stopped_although_the_process_table_cannot_be_read() -> None:
    run, stopped = await stop("sleep 1000", Blind())
    assert (stopped.step, stopped.exit) == (KILL, Exit(signal="SIGKILL"))
    assert stopped.failed_steps == ["no process table"]
    assert not platform.is_running(run.identity)


async def test_a_suspended_program_takes_the_stop_signal() -> None:
    program = Program(pk=1, name="web", command="sleep 1000", stop_ladder=TERM)
    run = Run.spawn(program, 0, lambda run: sequence.main_exited(run.reap(kill_group=False)), real_context())
    os.kill(run.identity.pid, signal.SIGSTOP)
    sequence = StopSequence(program, 0, run.identity, run.marker, real_context())
    stopped = await asyncio.wait_for(sequence.run(), 20)
    assert (stopped.step, stopped.exit) == ("signal:TERM", Exit(signal="SIGTERM"))


async def test_a_stop_command_gets_the_pid() -> None:
    steps = [{"step": "command:sh -c 'kill -INT $PROGRAM_PID'", "seconds": 20}]
    _, stopped = await stop("sleep 1000", ProcessScanner(), stop_ladder=steps)
    assert (stopped.step, stopped.exit) == (steps[0]["step"], Exit(signal="SIGINT"))


class Switch(ThreadingHTTPServer):
    """Creates the file `stop` when it is posted to."""

    def __init__(self, stop: Path) -> None:
        super().__init__(("127.0.0.1", 0), SwitchHandler)
        self.stop_file = stop
        self.paths: list[str] = []


class SwitchHandler(BaseHTTPRequestHandler):
    server: Switch

    def do_POST(self) -> None:
        self.server.paths.append(self.path)
        self.server.stop_file.touch()
        self.send_response(204)
        self.end_headers()

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Prints nothing."""


@pytest.fixture
def switch(tmp_path: Path) -> Iterator[Switch]:
    server = Switch(tmp_path / "stop")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


async def test_a_program_can_be_stopped_over_http(switch: Switch) -> None:
    steps = [{"step": f"http:http://127.0.0.1:{switch.server_port}/stop/{{instance+7}}", "seconds": 20}]
    command = f"until [ -e {switch.stop_file} ]; do sleep 0.05; done"
    _, stopped = await stop(command, ProcessScanner(), shell=True, stop_ladder=steps)
    assert (stopped.step, stopped.exit, stopped.failed_steps) == (steps[0]["step"], Exit(code=0), [])
    assert switch.paths == ["/stop/7"]
