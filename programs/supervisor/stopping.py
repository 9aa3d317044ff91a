"""Stops a program: its stop steps one after the other, then SIGKILL to whatever is left of its tree."""

from __future__ import annotations

import asyncio
import contextlib
import shlex
import signal
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Any

import structlog

from programs.definition.syntax import signal_number
from programs.models import Program
from programs.placeholders import fill

from .platform import Exit, Identity
from .ports import Context, System

log = structlog.get_logger(__name__)

KILL = "signal:KILL"
EXITED_BY_ITSELF = "ended by itself"
POLL_SECONDS = 0.02
SCAN_SECONDS = 0.5


@dataclass(frozen=True)
class StopResult:
    """`step` is the one that stopped the main process, `killed` how many of its tree needed SIGKILL.

    `exit` is that of the main process; unknown when the stop itself failed.
    """

    step: str
    seconds: float
    killed: int
    failed_steps: list[str]
    exit: Exit

    def event_data(self) -> dict[str, Any]:
        return {
            "step": self.step,
            "seconds": self.seconds,
            "tree_killed": self.killed,
            "failed_steps": self.failed_steps,
            "exit_code": self.exit.code,
            "exit_signal": self.exit.signal,
        }


class StopSequence:
    """Stops one run. Call `main_exited` when the main process exits, and `skip_to_kill` to cut the steps short."""

    def __init__(self, program: Program, index: int, main: Identity, marker: str, context: Context) -> None:
        self.program = program
        self.index = index
        self.exited = asyncio.Event()
        self._exit = Exit()
        self._main = main
        self._marker = marker
        self._context = context
        self._system = context.system
        self._failed_steps: list[str] = []
        self._kill_requested = asyncio.Event()
        self._deadline = 0.0
        self._last_signal = signal.SIGKILL.value

    def skip_to_kill(self) -> None:
        self._kill_requested.set()

    def main_exited(self, ended: Exit) -> None:
        self._exit = ended
        self.exited.set()

    async def run(self) -> StopResult:
        """Returns once the whole tree is gone, even if a step or a scan of the process table fails."""
        try:
            return await self._stop()
        except Exception as error:
            log.exception("program.stop_failed", program=self.program.name, instance=self.index)
            return await self._kill_without_scanner(error)

    async def _stop(self) -> StopResult:
        begun = self._system.now()
        # Scanned first: a descendant that left the session and lost the marker is found through its parents only.
        tree = (await self._context.scanner.scan()).members(self._main, self._marker)
        step = await self._run_steps()
        killed = await self._clear_tree(tree, step)
        return StopResult(step, round(self._system.now() - begun, 3), killed, self._failed_steps, self._exit)

    async def _kill_without_scanner(self, error: Exception) -> StopResult:
        if not self.exited.is_set():  # afterwards the pid may be another group's
            self._system.kill_group(self._main.pid)
        # Until the exit is noticed, not only until it is dead: a successor must not get its predecessor's exit.
        while not self.exited.is_set():
            self._system.send_signal(self._main, signal.SIGKILL)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.exited.wait(), POLL_SECONDS)
        return StopResult(KILL, 0.0, 0, [*self._failed_steps, str(error)], self._exit)

    async def _run_steps(self) -> str:
        for step in self.program.stop_ladder:
            if self.exited.is_set() or self._kill_requested.is_set():
                break
            self._deadline = self._system.now() + step["seconds"]
            await self._try_step(step["step"], step["seconds"])
            if self.exited.is_set():
                return str(step["step"])
        if self.exited.is_set():
            return EXITED_BY_ITSELF
        await self._kill_main()
        return KILL

    async def _try_step(self, step: str, seconds: float) -> None:
        """Runs the step, then waits for the exit until its seconds are over; a step that fails is over at once."""
        action = asyncio.ensure_future(self._run_step(step))
        waits = {action, *(asyncio.ensure_future(event.wait()) for event in (self.exited, self._kill_requested))}
        try:
            done, _ = await asyncio.wait(waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
            if done == {action} and not action.exception():
                left = max(0.0, self._deadline - self._system.now())
                await asyncio.wait(waits - {action}, timeout=left, return_when=asyncio.FIRST_COMPLETED)
        finally:  # asyncio.wait leaves them running, also when it is cancelled itself
            for wait in waits:
                wait.cancel()
        for error in await asyncio.gather(*waits, return_exceptions=True):
            if isinstance(error, Exception):
                log.warning("stop.step_failed", program=self.program.name, step=step, error=str(error))
                self._failed_steps.append(f"{step}: {error}")

    async def _run_step(self, step: str) -> None:
        kind, _, argument = step.partition(":")
        await STEPS[kind](self, fill(argument, self.index))

    async def _kill_main(self) -> None:
        # Repeated: a process in an uninterruptible system call takes the signal only when it returns.
        while not self.exited.is_set():
            for member in (await self._context.scanner.scan()).members(self._main, self._marker):
                self._system.send_signal(member, signal.SIGKILL)
            self._system.send_signal(self._main, signal.SIGKILL)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.exited.wait(), SCAN_SECONDS)

    async def _clear_tree(self, tree: set[Identity], step: str) -> int:
        """The rest of the tree gets the same signal and the rest of the step's seconds, then SIGKILL."""
        snapshot = await self._context.scanner.scan()
        left = _running(self._system, tree) | snapshot.members(self._main, self._marker)
        if left and step.startswith("signal:") and step != KILL:
            for member in left:
                self._send(member, self._last_signal)
            while left and self._system.now() < self._deadline and not self._kill_requested.is_set():
                await asyncio.sleep(POLL_SECONDS)
                left = _running(self._system, left)
        return await kill_tree(self._context, self._main, self._marker, left)

    # --- Steps ---

    async def _signal(self, argument: str) -> None:
        self._last_signal = signal_number(argument)
        self._send(self._main, self._last_signal)

    def _send(self, member: Identity, number: int) -> None:
        self._system.send_signal(member, number)
        # A suspended process (SIGSTOP, Ctrl-Z) takes the signal only once it continues.
        if hasattr(signal, "SIGCONT") and number not in (signal.SIGKILL, signal.SIGSTOP):
            self._system.send_signal(member, signal.SIGCONT)

    async def _stdin(self, argument: str) -> None:
        text = argument.replace("\\n", "\n").replace("\\t", "\t")
        text = text if text.endswith("\n") else text + "\n"
        self._context.launcher.write_console(self.program.pk, self.index, text)

    async def _command(self, argument: str) -> None:
        argv = shlex.split(argument)
        await self._context.launcher.run_stop_command(self.program, self.index, argv, self._main.pid)

    async def _http(self, argument: str) -> None:
        await self._context.http_post(argument, max(0.1, self._deadline - self._system.now()))


STEPS: dict[str, Callable[[StopSequence, str], Awaitable[None]]] = {
    "signal": StopSequence._signal,
    "stdin": StopSequence._stdin,
    "command": StopSequence._command,
    "http": StopSequence._http,
}


def _running(system: System, identities: Iterable[Identity]) -> set[Identity]:
    return {identity for identity in identities if system.is_running(identity)}


async def kill_tree(context: Context, main: Identity | None, marker: str, known: Iterable[Identity] = ()) -> int:
    """SIGKILL to everything left of a run, until a scan finds nothing; returns how many there were.

    Leaves alone what the agent may not signal. Without `main` only processes with the marker count.
    """
    system = context.system
    killed: set[Identity] = set()
    refused: set[Identity] = set()
    pause = POLL_SECONDS
    left = _running(system, known) | (await context.scanner.scan()).members(main, marker)
    while left:
        for member in left:
            (killed if system.send_signal(member, signal.SIGKILL) else refused).add(member)
        await asyncio.sleep(pause)
        pause = min(2 * pause, SCAN_SECONDS)
        left = _running(system, left) or (await context.scanner.scan()).members(main, marker)
        left -= _running(system, refused)
    return len(killed)
