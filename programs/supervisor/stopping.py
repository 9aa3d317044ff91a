"""Ending a program: the stop ladder, step by step, and nobody of its tree left at the end."""

from __future__ import annotations

import asyncio
import contextlib
import shlex
import signal
import subprocess
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Any

import structlog

from programs.definition.syntax import signal_number
from programs.models import Program
from programs.placeholders import fill
from programs.probes import http_request
from programs.probes.command import reap

from . import launch, platform
from .platform import Exit, Identity
from .process_tree import Scanner

log = structlog.get_logger(__name__)

KILL = "signal:KILL"
BY_ITSELF = "ended by itself"
POLL_SECONDS = 0.02
SCAN_SECONDS = 0.5


@dataclass(frozen=True)
class Stopped:
    """Which step ended the program, after how many seconds, how many of its tree had to be killed, what failed.

    `end` is that of the main process; unknown when even the last resort had to do without it.
    """

    step: str
    seconds: float
    killed: int
    failed: list[str]
    end: Exit

    def facts(self) -> dict[str, Any]:
        """The data of the event that tells of it."""
        return {
            "step": self.step,
            "seconds": self.seconds,
            "tree_killed": self.killed,
            "failed_steps": self.failed,
            "exit_code": self.end.code,
            "exit_signal": self.end.signal,
        }


class Ladder:
    """Stops one run. The owner tells of the main process's end with `ended`; `skip_to_kill` cuts it short."""

    def __init__(self, program: Program, index: int, who: Identity, marker: str, scanner: Scanner) -> None:
        self.program = program
        self.index = index
        self.who = who
        self.gone = asyncio.Event()
        self.end = Exit()
        self.failed: list[str] = []
        self._marker = marker
        self._scanner = scanner
        self._kill = asyncio.Event()
        self._deadline = 0.0
        self._last_signal = signal.SIGKILL.value

    def skip_to_kill(self) -> None:
        self._kill.set()

    def ended(self, end: Exit) -> None:
        """The main process has ended."""
        self.end = end
        self.gone.set()

    async def run(self) -> Stopped:
        """Until the whole tree is gone, for as long as the kernel takes, and whatever of ours fails meanwhile."""
        try:
            return await self._stop()
        except Exception as error:
            log.exception("program.stop_failed", program=self.program.name, instance=self.index)
            return await self._last_resort(error)

    async def _stop(self) -> Stopped:
        begun = platform.now()
        # Whoever leaves the family and wipes its environment can only be found while its parents live.
        tree = (await self._scanner.scan()).members(self.who, self._marker)
        step = await self._climb()
        killed = await self._clear(tree, step)
        return Stopped(step, round(platform.now() - begun, 3), killed, self.failed, self.end)

    async def _last_resort(self, error: Exception) -> Stopped:
        """When our own code failed half-way: SIGKILL to the main process and its group."""
        platform.kill_group(self.who.pid)
        while platform.is_running(self.who):
            platform.send_signal(self.who, signal.SIGKILL)
            await asyncio.sleep(POLL_SECONDS)
        return Stopped(KILL, 0.0, 0, [*self.failed, str(error)], self.end)

    async def _climb(self) -> str:
        for step in self.program.stop_ladder:
            if self.gone.is_set() or self._kill.is_set():
                break
            self._deadline = platform.now() + step["seconds"]
            await self._try(step["step"], step["seconds"])
            if self.gone.is_set():
                return str(step["step"])
        if self.gone.is_set():
            return BY_ITSELF
        await self._kill_main()
        return KILL

    async def _try(self, step: str, seconds: float) -> None:
        """Acts, then waits for the end; a step that fails makes room for the next one at once."""
        action = asyncio.ensure_future(self._act(step))
        waits = {action, *(asyncio.ensure_future(event.wait()) for event in (self.gone, self._kill))}
        done, _ = await asyncio.wait(waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        if done == {action} and not action.exception():
            left = max(0.0, self._deadline - platform.now())
            await asyncio.wait(waits - {action}, timeout=left, return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()
        for error in await asyncio.gather(*waits, return_exceptions=True):
            if isinstance(error, Exception):
                log.warning("stop.step_failed", program=self.program.name, step=step, error=str(error))
                self.failed.append(f"{step}: {error}")

    async def _act(self, step: str) -> None:
        kind, _, argument = step.partition(":")
        await STEPS[kind](self, fill(argument, self.index))

    async def _kill_main(self) -> None:
        """SIGKILL to the tree, again and again: a process in an uninterruptible call takes it when it can."""
        while not self.gone.is_set():
            for who in (await self._scanner.scan()).members(self.who, self._marker):
                platform.send_signal(who, signal.SIGKILL)
            platform.send_signal(self.who, signal.SIGKILL)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.gone.wait(), SCAN_SECONDS)

    async def _clear(self, tree: set[Identity], step: str) -> int:
        """Those left behind get the same signal and what remains of the step's time; then SIGKILL."""
        left = still_running(tree) | (await self._scanner.scan()).members(self.who, self._marker)
        if left and step.startswith("signal:") and step != KILL:
            for who in left:
                platform.send_signal(who, self._last_signal)
            while left and platform.now() < self._deadline and not self._kill.is_set():
                await asyncio.sleep(POLL_SECONDS)
                left = still_running(left)
        return await clear_leftovers(self._scanner, self.who, self._marker, left)

    # --- Steps ---

    async def _signal(self, argument: str) -> None:
        self._last_signal = signal_number(argument)
        platform.send_signal(self.who, self._last_signal)

    async def _stdin(self, argument: str) -> None:
        text = argument.replace("\\n", "\n").replace("\\t", "\t")
        launch.write_console(self.program.pk, self.index, text if text.endswith("\n") else text + "\n")

    async def _command(self, argument: str) -> None:
        launched = launch.launch_helper(self.program, self.index, shlex.split(argument), self.who.pid)
        try:
            while launched.poll() is None:  # noqa: ASYNC110  (polled for at most the step's seconds)
                await asyncio.sleep(POLL_SECONDS)
        finally:
            await end_helper(launched)

    async def _http(self, argument: str) -> None:
        seconds = max(0.1, self._deadline - platform.now())
        await http_request("POST", argument, timeout=seconds)


STEPS: dict[str, Callable[[Ladder, str], Awaitable[None]]] = {
    "signal": Ladder._signal,
    "stdin": Ladder._stdin,
    "command": Ladder._command,
    "http": Ladder._http,
}


async def end_helper(helper: subprocess.Popen[bytes]) -> None:
    """Ends a stop command that is late, with everything it started in its session. Does not wait long for it."""
    if helper.poll() is None:
        platform.kill_group(helper.pid)
        await reap(helper)


def still_running(people: Iterable[Identity]) -> set[Identity]:
    return {who for who in people if platform.is_running(who)}


async def clear_leftovers(
    scanner: Scanner, main: Identity | None, marker: str, known: Iterable[Identity] = ()
) -> int:
    """SIGKILL to all that is left of a run, until a look finds nobody; returns how many there were.

    Those that this user may not signal are left alone. Without `main` only bearers of the mark count.
    """
    killed: set[Identity] = set()
    refused: set[Identity] = set()
    pause = POLL_SECONDS
    left = still_running(known) | (await scanner.scan()).members(main, marker)
    while left:
        for who in left:
            (killed if platform.send_signal(who, signal.SIGKILL) else refused).add(who)
        await asyncio.sleep(pause)
        pause = min(2 * pause, SCAN_SECONDS)
        left = still_running(left) or (await scanner.scan()).members(main, marker)
        left -= refused & still_running(refused)
    return len(killed)
