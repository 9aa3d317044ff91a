"""Listens as the agent does and as the job cluster does, and prints a line for each ring."""

from __future__ import annotations

import asyncio
import threading

import django

django.setup()

from core import doorbell  # noqa: E402  (needs the apps)


def listen_blocking() -> None:
    listener = doorbell.BlockingListener("jobs")
    while True:
        if listener.wait(0.5):
            print("jobs", flush=True)


async def listen() -> None:
    async with doorbell.listen("agent") as event:
        while True:
            if await doorbell.wait(event, 0.5):
                print("agent", flush=True)


threading.Thread(target=listen_blocking, daemon=True).start()
asyncio.run(listen())
