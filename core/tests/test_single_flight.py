"""A call that hangs takes one thread and does not block the exit of the process."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading

import pytest

from core.single_flight import SingleFlight


def refuse() -> str:
    raise OSError("nobody knows")


async def test_results_and_errors_are_returned() -> None:
    calls = SingleFlight[str]()
    assert await calls.run("name", lambda: "127.0.0.1") == "127.0.0.1"
    with pytest.raises(OSError, match="nobody knows"):
        await calls.run("name", refuse)


async def test_callers_with_the_same_key_share_one_call() -> None:
    calls, answered, asked = SingleFlight[str](), threading.Event(), []

    def question() -> str:
        asked.append(threading.current_thread())
        answered.wait(10)
        return "found"

    waiting = [asyncio.create_task(calls.run("name", question)) for _ in range(3)]
    await asyncio.sleep(0)
    waiting[0].cancel()
    await asyncio.sleep(0)
    answered.set()
    assert await asyncio.gather(*waiting[1:]) == ["found", "found"]
    assert len(asked) == 1
    assert await calls.run("name", lambda: "asked again") == "asked again"


def test_the_exit_of_the_process_does_not_wait_for_a_call() -> None:
    program = (
        "import time; from core.single_flight import SingleFlight; "
        "SingleFlight().submit('name', lambda: time.sleep(60)); print('end')"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, timeout=30, check=True)
    assert ended.stdout == b"end\n"
