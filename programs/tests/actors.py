"""A real agent in a process of its own on the test database, and ways to wait for what it does."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import psutil

from core.tests.databases import url_of_this_database
from programs import services
from programs.models import Process, Program, ProgramEvent
from programs.states import Action

T = TypeVar("T")
PATIENCE = 60.0  # for a busy machine; nothing waits that long when all is well
MANAGE = Path(__file__).resolve().parents[2] / "manage.py"


def wait_for(look: Callable[[], T | None], what: object = "", seconds: float = PATIENCE) -> T:
    """Polls until `look` returns something true, and returns it; `what` names it in the error."""
    begun = time.monotonic()
    while not (found := look()):
        waited = time.monotonic() - begun
        assert waited < seconds, f"waited {seconds:g} s for {what or look}"
        time.sleep(min(0.01 + waited / 20, 0.1))  # polling costs, and others need the processor
    return found


class AgentBox:
    """`manage.py agent` as a process, with a data folder of its own and the test's database."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.output = folder / "agent.out"
        self.process: subprocess.Popen[bytes] | None = None

    def start_dying(self, at: int, within: str, **environment: str) -> None:
        """An agent that kills itself at the `at`-th line after it called `within`; see dying_agent."""
        script = MANAGE.parent / "programs/tests/dying_agent.py"
        self.start(wait=False, script=script, DIE_AT=str(at), DIE_IN=within, **environment)

    def start(
        self,
        *arguments: str,
        wait: bool = True,
        script: Path | None = None,
        under: Sequence[str] = (),
        **environment: str,
    ) -> AgentBox:
        """`under` is a command that runs the words that follow it."""
        already = ProgramEvent.objects.filter(type="agent.started").count()
        environment = {
            **os.environ,
            **environment,
            "DATA_DIR": str(self.folder),
            "DATABASE_URL": url_of_this_database(),
            "SAMPLE_SECONDS": "0.5",
        }
        with self.output.open("ab") as output:
            self.process = subprocess.Popen(
                [*under, sys.executable, *([str(script)] if script else [str(MANAGE), "agent", *arguments])],
                env=environment,
                stdout=output,
                stderr=output,
            )
        if wait:
            wait_for(lambda: ProgramEvent.objects.filter(type="agent.started").count() > already, self)
        return self

    def __repr__(self) -> str:
        return f"the agent, which printed: {self.output.read_text()[-2000:]}"

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        """SIGTERM; returns the exit code."""
        assert self.process is not None
        self.process.terminate()
        return self.process.wait(timeout=PATIENCE)

    @property
    def marker(self) -> str:
        return (self.folder / "installation").read_text().strip()

    def survivors(self) -> list[psutil.Process]:
        """Every living process that has a marker of this agent."""
        return [p for p in psutil.process_iter() if _marker(p).startswith(self.marker)]

    def clean_up(self) -> None:
        if self.process and self.process.poll() is None:
            self.kill()
        if (self.folder / "installation").exists():
            end_all(self.survivors)


def _marker(process: psutil.Process) -> str:
    try:
        if process.status() == psutil.STATUS_ZOMBIE:
            return ""
        return str(process.environ().get("PROGRAM_MONITOR", ""))
    except psutil.Error:
        return ""


def end_all(find: Callable[[], list[psutil.Process]]) -> None:
    """Kills until `find` returns none: one that was just killed may have started another."""
    deadline = time.monotonic() + PATIENCE
    while found := find():
        assert time.monotonic() < deadline, found
        for process in found:
            end(process)


def end(process: psutil.Process) -> None:
    """SIGKILL, unless it has exited."""
    with contextlib.suppress(psutil.NoSuchProcess):
        process.kill()


def define(name: str, command: str, **fields: Any) -> Program:
    """A saved program; the agent starts it at once unless `autostart=False` is among the fields."""
    values = {"name": name, "command": command, "start_seconds": 0.1, **fields}
    return services.save_definition(values, actor="tester").program


def ask(program: Program, verb: Action) -> None:
    services.request(Program.objects.get(pk=program.pk), verb, actor="tester")


def row(program: Program, index: int = 0) -> Process:
    return Process.objects.get(program=program, index=index)


def wait_state(program: Program, state: str, index: int = 0) -> Process:
    """The process's row once it is in `state`."""
    rows = Process.objects.filter(program=program, index=index, state=state)
    return wait_for(rows.first, f"{program.name}:{index} to be {state}, is {list(program.processes.values())}")


def wait_event(program: Program | None, type_: str, count: int = 1) -> ProgramEvent:
    """The newest event of that type, once there are `count`."""
    found = ProgramEvent.objects.filter(type=type_, program=program).order_by("-seq")
    wait_for(lambda: found.count() >= count, f"{count} {type_}")
    newest = found.first()
    assert newest is not None
    return newest


def is_running(pid: int | None) -> bool:
    try:
        return pid is not None and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def kill(pid: int | None, number: int = signal.SIGKILL) -> None:
    assert pid is not None
    os.kill(pid, number)
