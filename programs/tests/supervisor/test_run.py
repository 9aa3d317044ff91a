"""One run of a real process: started, watched, reaped."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from programs.models import Program
from programs.supervisor import launch, platform
from programs.supervisor.platform import Exit
from programs.supervisor.ports import LaunchError
from programs.supervisor.run import Run

from .memory_database import real_context

pytestmark = pytest.mark.usefixtures("launching")


async def exited(command: str) -> tuple[Run, Exit]:
    """A run of `command` that exited by itself."""
    gone = asyncio.Event()
    program = Program(pk=1, name="web", command=command, shell=True)
    run = Run.spawn(program, 0, lambda run: gone.set(), real_context())
    await asyncio.wait_for(gone.wait(), 20)
    return run, run.reap(kill_group=True)


@pytest.mark.parametrize(
    ("command", "end"),
    [("exit 3", Exit(code=3)), ("kill -TERM $$", Exit(signal="SIGTERM")), ("true", Exit(code=0))],
)
async def test_the_exit_is_noticed_and_its_status_read(command: str, end: Exit) -> None:
    assert (await exited(command))[1] == end


async def test_what_it_left_in_its_process_group_is_killed(tmp_path: Path) -> None:
    """The child waits for a reader of the FIFO; killed, it lets go of it and the open fails."""
    os.mkfifo(tmp_path / "held")
    await exited(f"exec 3<>{tmp_path}/held; sleep 1000 & exit 0")
    with pytest.raises(OSError, match="No such device"):  # nobody has the other end open
        while True:
            os.close(os.open(tmp_path / "held", os.O_WRONLY | os.O_NONBLOCK))
            await asyncio.sleep(0.01)


TRACED = """
import ctypes, os, pathlib, time
libc = ctypes.CDLL(None)
libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
libc.prctl(0x59616D61, ctypes.c_ulong(-1))  # anybody may trace it
main = os.getpid()
if os.fork() == 0:
    os.setsid()
    libc.ptrace(16, main, None, None)  # attach
    os.waitpid(main, 0)
    libc.ptrace(7, main, None, None)  # go on
    pathlib.Path("debugger").write_text(str(os.getpid()))
time.sleep(30)
"""


async def test_a_process_that_a_debugger_holds_is_not_waited_for(tmp_path: Path) -> None:
    """As when gdb is left at its prompt: the debugger decides when the zombie can be reaped."""
    gone, note = asyncio.Event(), tmp_path / "debugger"
    (tmp_path / "traced.py").write_text(TRACED)
    command = f"{sys.executable} traced.py"
    program = Program(pk=1, name="web", command=command, working_directory=str(tmp_path))
    run = Run.spawn(program, 0, lambda run: gone.set(), real_context())
    while not (note.exists() and note.read_text()):
        await asyncio.sleep(0.01)
    os.kill(run.identity.pid, signal.SIGKILL)
    await asyncio.wait_for(gone.wait(), 20)
    begun = time.monotonic()
    end = run.reap(kill_group=True)
    assert time.monotonic() - begun < 5
    os.kill(int(note.read_text()), signal.SIGKILL)
    assert run.child is not None
    assert (end, run.child.wait()) == (Exit(signal="SIGKILL"), -signal.SIGKILL)


async def test_its_columns_identify_the_process() -> None:
    run, _ = await exited("true")
    columns = run.columns(datetime.now(UTC))
    assert (columns["pid"], columns["kernel_start"], columns["boot_id"]) == run.identity
    assert launch.parse_marker(columns["marker"]) == (1, 0)
    assert columns["boot_id"] == platform.boot_id()


async def test_a_process_that_has_exited_cannot_be_watched() -> None:
    run, _ = await exited("true")
    with pytest.raises(ProcessLookupError):
        Run(run.identity, run.marker, platform).watch(lambda run: None)


async def test_what_cannot_be_watched_does_not_run(monkeypatch: pytest.MonkeyPatch) -> None:
    started = []

    def refuse(who: platform.Identity, on_exit: platform.OnExit) -> platform.Watch:
        started.append(who)
        raise OSError("too many open files")

    monkeypatch.setattr(platform, "watch", refuse)
    with pytest.raises(LaunchError, match="too many open files") as refused:
        Run.spawn(Program(pk=1, name="web", command="sleep 1000"), 0, lambda run: None, real_context())
    assert not refused.value.is_permanent
    assert not platform.is_running(started[0])
