"""How each kind of probe asks. `check` runs one and always comes back within the probe's timeout."""

from __future__ import annotations

import asyncio
import shlex
import socket
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from itertools import islice

from . import command
from .base import Outcome, Probe, ProbeContext, ProbeFailedError
from .connect import open_connection
from .http import http_request

LINES_AT_A_TIME = 500

Check = Callable[[Probe, ProbeContext], Awaitable[str]]

# What is said instead of the system's own words, most specific first.
REASONS: tuple[tuple[type[Exception], str], ...] = (
    (ConnectionRefusedError, "connection refused: nobody listens there"),
    (ConnectionResetError, "the connection was broken off"),
    (BrokenPipeError, "the connection was broken off"),
    (socket.gaierror, "the name of the host is not known"),
)


async def check(probe: Probe, context: ProbeContext) -> Outcome:
    """Asks once. Whatever goes wrong is an outcome that is not ok; only a cancellation is raised."""
    loop = asyncio.get_running_loop()
    begun = loop.time()
    try:
        async with asyncio.timeout(probe.timeout):
            detail = await CHECKS[probe.kind](probe, context)
        ok = True
    except TimeoutError:
        ok, detail = False, f"no answer within {probe.timeout:g} s"
    except (ProbeFailedError, OSError, ValueError, EOFError) as error:
        ok, detail = False, _reason(error)
    return Outcome(ok, detail, loop.time() - begun)


def _reason(error: Exception) -> str:
    return next((text for kind, text in REASONS if isinstance(error, kind)), str(error) or type(error).__name__)


async def _http(probe: Probe, context: ProbeContext) -> str:
    status = await http_request("GET", probe.target, timeout=probe.timeout)
    if not HTTPStatus.OK <= status < HTTPStatus.BAD_REQUEST:
        raise ProbeFailedError(f"HTTP {status}")
    return f"HTTP {status}"


async def _tcp(probe: Probe, context: ProbeContext) -> str:
    host, _, port = probe.target.rpartition(":")
    if not port.isdecimal() or not 0 < int(port[:6]) < 65_536:
        raise ProbeFailedError(f"{probe.target} is no address: write host:port")
    _, writer = await open_connection(host.strip("[]"), int(port))
    writer.transport.abort()
    return "connected"


async def _exec(probe: Probe, context: ProbeContext) -> str:
    code, output = await command.run(shlex.split(probe.target), context)
    if code != 0:
        ending = f"exit code {code}" if code > 0 else f"killed by signal {-code}"
        raise ProbeFailedError(f"{ending}: {output}" if output else ending)
    return output or "exit code 0"


async def _log(probe: Probe, context: ProbeContext) -> str:
    """Literal text, once seen always seen. Lines that time does not suffice for are left to the next check."""
    context.wanted_texts.add(probe.target)
    if probe.target not in context.seen_texts:
        await _look_through(context)
        context.unread_lines = iter(context.new_lines())
        await _look_through(context)
    if probe.target not in context.seen_texts:
        raise ProbeFailedError("it has not appeared in the log")
    return "it appeared in the log"


async def _look_through(context: ProbeContext) -> None:
    """Looks for every wanted text in the unread lines; pauses now and then, for the loop and the timeout."""
    read = LINES_AT_A_TIME
    while read == LINES_AT_A_TIME:
        read = 0
        for line in islice(context.unread_lines, LINES_AT_A_TIME):
            context.seen_texts.update(text for text in context.wanted_texts if text in line)
            read += 1
        if read:
            await asyncio.sleep(0)


CHECKS: dict[str, Check] = {"http": _http, "tcp": _tcp, "exec": _exec, "log": _log}
