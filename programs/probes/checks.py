"""The check of each kind of probe. `check` runs one and returns within the timeout of the probe."""

from __future__ import annotations

import asyncio
import shlex
import socket
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from itertools import islice

from core.masking import mask_text

from . import command
from .base import Probe, ProbeContext, ProbeFailedError, ProbeResult
from .http import http_request, open_connection

LINES_PER_BATCH = 500

Check = Callable[[Probe, ProbeContext], Awaitable[str]]

# Replacements for messages of the operating system, most specific first.
REASONS: tuple[tuple[type[Exception], str], ...] = (
    (ConnectionRefusedError, "connection refused: nothing listens on this port"),
    (ConnectionResetError, "the connection was reset"),
    (BrokenPipeError, "the connection was reset"),
    (socket.gaierror, "the host name cannot be resolved"),
)


async def check(probe: Probe, context: ProbeContext) -> ProbeResult:
    """Never raises, except when cancelled: every error is a result with `ok=False`."""
    loop = asyncio.get_running_loop()
    started = loop.time()
    try:
        async with asyncio.timeout(probe.timeout):
            detail = await CHECKS[probe.kind](probe, context)
        ok = True
    except TimeoutError:
        ok, detail = False, f"no response within {probe.timeout:g} s"
    except (ProbeFailedError, OSError, ValueError, EOFError) as error:
        ok, detail = False, _reason(error)
    # Other programs' texts get into events, too: an error can quote a URL with its password.
    return ProbeResult(ok, mask_text(context.mask.apply(detail)), loop.time() - started)


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
        raise ProbeFailedError(f"{probe.target} is not a valid address; use host:port")
    _, writer = await open_connection(host.strip("[]"), int(port))
    writer.transport.abort()
    return "connected"


async def _exec(probe: Probe, context: ProbeContext) -> str:
    code, output = await command.run(shlex.split(probe.target), context)
    if code != 0:
        reason = f"exit code {code}" if code > 0 else f"killed by signal {-code}"
        raise ProbeFailedError(f"{reason}: {output}" if output else reason)
    return output or "exit code 0"


async def _log(probe: Probe, context: ProbeContext) -> str:
    """Succeeds for ever once the literal text was found. The next check reads on where a timeout stopped."""
    context.wanted_texts.add(probe.target)
    if probe.target not in context.seen_texts:
        await _scan_log(context)
        context.unread_lines = iter(context.new_lines())
        await _scan_log(context)
    if probe.target not in context.seen_texts:
        raise ProbeFailedError("the text has not appeared in the log")
    return "the text appeared in the log"


async def _scan_log(context: ProbeContext) -> None:
    # One pass looks for the texts of all log probes of the process, because each line is read only once.
    read = LINES_PER_BATCH
    while read == LINES_PER_BATCH:
        read = 0
        for line in islice(context.unread_lines, LINES_PER_BATCH):
            context.seen_texts.update(text for text in context.wanted_texts if text in line)
            read += 1
        if read:
            await asyncio.sleep(0)  # lets the timeout and other tasks run


CHECKS: dict[str, Check] = {"http": _http, "tcp": _tcp, "exec": _exec, "log": _log}
