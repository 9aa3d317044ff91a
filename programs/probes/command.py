"""Runs the command of an exec probe and kills everything it started, also on timeout and cancellation."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import Sequence

from core.masking import mask_text
from core.secret_mask import SecretMask
from programs.logs.lines import clean
from programs.supervisor import platform
from programs.supervisor.mount_check import check_answers

from .base import ProbeContext

OUTPUT_CHARACTERS = 500
# More than is shown, because a secret that begins before the shown part has to be found.
KEPT_BYTES = 16 * 1024
READ_BYTES = 64 * 1024
MAX_FINAL_READS = 16
REAP_SECONDS = 1.0
REAP_POLL_SECONDS = 0.01


class _Output:
    """The last KEPT_BYTES that a child writes. Reads continuously, so that the child never blocks on a full
    pipe.

    Discards the output where the event loop cannot watch a pipe (Windows).
    """

    def __init__(self) -> None:
        self.child_end = subprocess.DEVNULL
        self._end: int | None = None
        self._tail = b""
        self._is_cut = False
        if os.name == "posix":
            self._end, self.child_end = os.pipe()
            os.set_blocking(self._end, False)
            asyncio.get_running_loop().add_reader(self._end, self._read)

    def _read(self) -> bool:
        if self._end is None:
            return False
        try:
            piece = os.read(self._end, READ_BYTES)
        except BlockingIOError:
            return False
        self._is_cut |= len(self._tail) + len(piece) > KEPT_BYTES
        self._tail = (self._tail + piece)[-KEPT_BYTES:]
        if not piece:
            asyncio.get_running_loop().remove_reader(self._end)
        return bool(piece)

    def close_child_end(self) -> None:
        if self.child_end >= 0:
            os.close(self.child_end)
            self.child_end = subprocess.DEVNULL

    def text(self, mask: SecretMask) -> str:
        """The end of the output, masked before it is cut to OUTPUT_CHARACTERS."""
        # Bounded: a process that left the session can still hold the pipe and write for ever.
        for _ in range(MAX_FINAL_READS):
            if not self._read():
                break
        # A command that is killed can leave half a secret at the end.
        masked = mask.apply(clean(self._tail), starts_cut=self._is_cut, ends_cut=True)
        return mask_text(masked).strip()[-OUTPUT_CHARACTERS:]

    def close(self) -> None:
        if self._end is not None:
            asyncio.get_running_loop().remove_reader(self._end)
            os.close(self._end)
            self._end = None


async def run(argv: Sequence[str], context: ProbeContext) -> tuple[int, str]:
    """Returns the exit code (negative for a signal) and the end of the output. Raises OSError.

    Kills the process group of the command when cancelled.
    """
    check_answers(context.working_directory or "/", argv[0])
    output = _Output()
    try:
        process = _start(argv, context, output)
        try:
            await _wait_for_exit(process.pid)
        finally:
            # The child is not reaped yet, so no other process or group can have its id.
            platform.kill_group(process.pid)
            await reap(process)
        return process.returncode, output.text(context.mask)
    finally:
        output.close()


def _start(argv: Sequence[str], context: ProbeContext, output: _Output) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=output.child_end,
            stderr=output.child_end,
            cwd=context.working_directory or None,
            env=dict(context.environment),
            start_new_session=True,
            **context.spawn,
        )
    finally:
        output.close_child_end()


async def _wait_for_exit(pid: int) -> None:
    # Only watches the pid: the caller kills the group before the child is reaped and its pid can be reused.
    exited = asyncio.Event()
    who = platform.identity(pid)
    if who is None:
        return
    try:
        watch = platform.watch(who, exited.set)
    except ProcessLookupError:
        return
    try:
        await exited.wait()
    finally:
        watch.close()


async def reap(process: subprocess.Popen[bytes]) -> None:
    """Reaps a killed child. One in uninterruptible sleep is left; `subprocess` reaps it at a later start."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + REAP_SECONDS
    while process.poll() is None and loop.time() < deadline:  # noqa: ASYNC110  (after SIGKILL it takes milliseconds)
        await asyncio.sleep(REAP_POLL_SECONDS)
