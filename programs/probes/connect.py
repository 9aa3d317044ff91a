"""A connection to a host by its name, whose look-up holds up nothing but who asks for it."""

from __future__ import annotations

import asyncio
import socket
from functools import partial
from typing import Any

from core.single_flight import SingleFlight

Answers = list[tuple[Any, ...]]
_names: SingleFlight[Answers] = SingleFlight()


async def open_connection(
    host: str, port: int, **options: Any
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """`asyncio.open_connection`, to the first address of the host that takes it. Raises OSError, UnicodeError.

    asyncio itself looks names up in the few threads that everything else of the agent's shares.
    """
    errors: list[OSError] = []
    for *_, address in await _addresses(host, port):
        try:
            return await asyncio.open_connection(address[0], port, **options)
        except OSError as error:
            errors.append(error)
    raise errors[0]


async def _addresses(host: str, port: int) -> Answers:
    """Never empty."""
    look_up = partial(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM)
    try:
        return look_up(flags=socket.AI_NUMERICHOST)  # most are, and then nobody is asked
    except socket.gaierror:
        return await _names.run((host, port), look_up)
