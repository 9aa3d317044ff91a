"""Runs the command of an exec probe. Nothing it started is left over, whether it ends, hangs or is called off."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import Sequence

from programs.logs.lines import clean
from programs.supervisor import platform
from programs.supervisor.mount_check import check_answers

from .base import ProbeContext

KEPT_BYTES = 500
READ_BYTES = 64 * 1024
MOST_LAST_READS = 16
REAP_SECONDS = 1.0
REAP_POLL_SECONDS = 0.01


class _Output:
    """The end of what a child writes. Read all the time, so that the child never waits for its reader.

    Where the event loop cannot watch a pipe (Windows), the output is thrown away.
    """

    def __init__(self) -> None:
        self.child_end = subprocess.DEVNULL
        self._end: int | None = None
        self._kept = b""
        if os.name == "posix":
            self._end, self.child_end = os.pipe()
            os.set_blocking(self._end, False)
            asyncio.get_running_loop().add_reader(self._end, self._read)

    def _read(self) -> bool:
        """Takes what is there; False at the end, or when there is nothing yet."""
        if self._end is None:
            return False
        try:
            piece = os.read(self._end, READ_BYTES)
        except BlockingIOError:
            return False
        self._kept = (self._kept + piece)[-KEPT_BYTES:]
        if not piece:
            asyncio.get_running_loop().remove_reader(self._end)
        return bool(piece)

    def started(self) -> None:
        """The child has its own copy of its end now, or could not be started."""
        if self.child_end >= 0:
            os.close(self.child_end)
            self.child_end = subprocess.DEVNULL

    def text(self) -> str:
        # Bounded: somebody who left the session may still hold the pipe and write without end.
        for _ in range(MOST_LAST_READS):
            if not self._read():
                break
        return clean(self._kept).strip()

    def close(self) -> None:
        if self._end is not None:
            asyncio.get_running_loop().remove_reader(self._end)
            os.close(self._end)
            self._end = None


async def run(words: Sequence[str], context: ProbeContext) -> tuple[int, str]:
    """The exit code (negative for a signal) and the end of the output. Raises OSError.

    Called off, it kills the command and everything in the command's group.
    """
    check_answers(context.working_directory or "/", words[0])
    output = _Output()
    try:
        process = _start(words, context, output)
        try:
            await _ended(process.pid)
        finally:
            # Still unreaped, so its number, and that of its group, cannot be another's yet.
            platform.kill_group(process.pid)
            await reap(process)
        return process.returncode, output.text()
    finally:
        output.close()


def _start(words: Sequence[str], context: ProbeContext, output: _Output) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(
            words,
            stdin=subprocess.DEVNULL,
            stdout=output.child_end,
            stderr=output.child_end,
            cwd=context.working_directory or None,
            env=dict(context.environment),
            start_new_session=True,
            **context.spawn,
        )
    finally:
        output.started()


async def _ended(pid: int) -> None:
    """Returns when the child has ended, without reaping it."""
    ended = asyncio.Event()
    who = platform.identity(pid)
    if who is None:
        return
    try:
        watch = platform.watch(who, ended.set)
    except ProcessLookupError:
        return
    try:
        await ended.wait()
    finally:
        watch.close()


async def reap(process: subprocess.Popen[bytes]) -> None:
    """Collects a child that was killed. One that the kernel will not let go yet is collected by a later start."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + REAP_SECONDS
    while process.poll() is None and loop.time() < deadline:  # noqa: ASYNC110  (after SIGKILL a matter of moments)
        await asyncio.sleep(REAP_POLL_SECONDS)
