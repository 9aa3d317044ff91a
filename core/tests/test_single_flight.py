"""A question that hangs costs one thread, whoever asks it, and keeps nobody."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading

import pytest

from core.single_flight import SingleFlight


def refuse() -> str:
    raise OSError("nobody knows")


async def test_an_answer_comes_back_and_so_does_an_error() -> None:
    calls = SingleFlight[str]()
    assert await calls.run("name", lambda: "127.0.0.1") == "127.0.0.1"
    with pytest.raises(OSError, match="nobody knows"):
        await calls.run("name", refuse)


async def test_those_who_ask_the_same_share_one_thread_and_one_answer() -> None:
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
    assert await calls.run("name", lambda: "asked again") == "asked anew"


def test_the_end_of_the_process_waits_for_no_answer() -> None:
    program = (
        "import time; from core.single_flight import SingleFlight; "
        "SingleFlight().submit('name', lambda: time.sleep(60)); print('end')"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, timeout=30, check=True)
    assert ended.stdout == b"end\n"
