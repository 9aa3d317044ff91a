from __future__ import annotations

from collections.abc import AsyncIterator

import pytest_asyncio

from core.http import Client, Policy


@pytest_asyncio.fixture
async def client() -> AsyncIterator[Client]:
    async with Client(Policy()) as client:
        yield client
