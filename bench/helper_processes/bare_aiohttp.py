"""A bare aiohttp loop that posts bodies from memory and records nothing: the lower bound for sending webhooks."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from typing import Any

import aiohttp

from bench.helper_processes.json_lines import answer_requests

HEADERS = {"Content-Type": "application/json"}


async def post_all(urls: list[str], bodies: list[bytes], concurrency: int, keep_alive: bool) -> float:
    """Seconds to post each body to each URL."""
    left = iter([(url, body) for body in bodies for url in urls])

    async def post_some(session: aiohttp.ClientSession, left: Iterator[tuple[str, bytes]]) -> None:
        for url, body in left:
            async with session.post(url, data=body, headers=HEADERS) as response:
                await response.read()
                response.raise_for_status()

    connector = aiohttp.TCPConnector(limit=0, force_close=not keep_alive)
    async with aiohttp.ClientSession(connector=connector) as session:
        began = time.monotonic()
        await asyncio.gather(*(post_some(session, left) for _ in range(concurrency)))
        return time.monotonic() - began


def post(urls: list[str], bodies: list[str], concurrency: int, keep_alive: bool) -> dict[str, Any]:
    encoded = [body.encode() for body in bodies]
    return {"seconds": asyncio.run(post_all(urls, encoded, concurrency, keep_alive))}


if __name__ == "__main__":
    answer_requests({"post": post})
