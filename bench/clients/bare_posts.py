"""The least that posts: an aiohttp loop that sends bodies from memory and forgets what came."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from typing import Any

import aiohttp

from bench.clients.line_loop import answer_all

HEADERS = {"Content-Type": "application/json"}


async def post_all(urls: list[str], bodies: list[bytes], at_a_time: int, keeps: bool) -> float:
    """Seconds for each body to each URL; `keeps`: connections are used again, aiohttp's default."""
    left = iter([(url, body) for body in bodies for url in urls])

    async def post_some(session: aiohttp.ClientSession, left: Iterator[tuple[str, bytes]]) -> None:
        for url, body in left:
            async with session.post(url, data=body, headers=HEADERS) as response:
                await response.read()
                response.raise_for_status()

    connector = aiohttp.TCPConnector(limit=0, force_close=not keeps)
    async with aiohttp.ClientSession(connector=connector) as session:
        began = time.monotonic()
        await asyncio.gather(*(post_some(session, left) for _ in range(at_a_time)))
        return time.monotonic() - began


def post(urls: list[str], bodies: list[str], at_a_time: int, keeps: bool) -> dict[str, Any]:
    encoded = [body.encode() for body in bodies]
    return {"seconds": asyncio.run(post_all(urls, encoded, at_a_time, keeps))}


if __name__ == "__main__":
    answer_all({"post": post})
