"""Starts the process that talks to Apprise, and makes sure that it ends."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from core.http import Policy, TransportError
from core.secrets import mask

KILL_SECONDS = 20
MOST_AT_A_TIME = 3
ROOT = Path(__file__).resolve().parents[3]
COMMAND = [sys.executable, "-B", "-E", "-s", "-m", "webhooks.transports.apprise.child"]
# MONITOR_JOBS is the mark by which the processes of a job cluster are found and ended with it.
HANDED_ON = ("PATH", "LANG", "SYSTEMROOT", "SSL_CERT_FILE", "MONITOR_JOBS")
SHORTEST_SECRET = 4

Answer = dict[str, Any]


def order(url: str, policy: Policy, **message: Any) -> bytes:
    """What the process is told, on its standard input: the command line of a process is open to everybody."""
    rules = {
        "network": policy.network,
        "own_ports": sorted(policy.own_ports),
        "service_ports": sorted(policy.service_ports),
    }
    given = {"title": "", "body": "", "type": "info", "seconds": KILL_SECONDS, "only_check": False, **message}
    return json.dumps({"policy": rules, "url": url, **given}).encode()


def ask(message: bytes) -> Answer:
    """Blocks for up to `KILL_SECONDS`. Raises TransportError."""
    try:
        done = subprocess.run(
            COMMAND, input=message, stdout=subprocess.PIPE, timeout=KILL_SECONDS, **_surroundings()
        )
    except OSError as error:
        raise _not_started(error) from error
    except subprocess.TimeoutExpired:
        raise _too_slow(KILL_SECONDS) from None
    return _read(done.stdout, done.returncode)


async def talk(message: bytes, seconds: float) -> Answer:
    """As `ask`, without blocking. The process is killed after `seconds`, and when this is cancelled."""
    try:
        process = await asyncio.create_subprocess_exec(
            *COMMAND, stdin=subprocess.PIPE, stdout=subprocess.PIPE, **_surroundings()
        )
    except OSError as error:
        raise _not_started(error) from error
    try:
        async with asyncio.timeout(seconds):
            said, _ = await process.communicate(message)
    except TimeoutError:
        raise _too_slow(seconds) from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return _read(said, process.returncode)


def _environment() -> dict[str, str]:
    """No proxy, and a home without files: both would be obeyed."""
    handed_on = {name: os.environ[name] for name in HANDED_ON if name in os.environ}
    certificates = os.environ.get("SSL_CERT_FILE")
    return {**handed_on, "HOME": os.devnull, **({"REQUESTS_CA_BUNDLE": certificates} if certificates else {})}


def _surroundings() -> dict[str, Any]:
    return {"stderr": subprocess.DEVNULL, "cwd": ROOT, "env": _environment(), "start_new_session": True}


def _not_started(error: OSError) -> TransportError:
    return TransportError("failed", f"The sending process cannot be started: {error.strerror}.", connected=False)


def _too_slow(seconds: float) -> TransportError:
    return TransportError("timeout", f"The service did not finish within {seconds:.0f} s.")


def _read(said: bytes, code: int | None) -> Answer:
    try:
        answer: Answer = json.loads(said)
    except ValueError:
        how = f"signal {-code}" if code is not None and code < 0 else f"code {code}"
        raise TransportError("failed", f"The sending process ended with {how} and said nothing.") from None
    return answer


def masked_text(text: str, url: str) -> str:
    """What a service's library said, without the pieces of the URL: each of them may be a token."""
    return mask(" ".join(text.split()), sorted(_pieces(url)))


def _pieces(url: str) -> set[str]:
    """Everything but a host with a dot in it: many services take a token where others have a host."""
    parts = urlsplit(url)
    user, _, host = parts.netloc.rpartition("@")
    host = "" if "." in host or ":" in host else host
    values = [value for part in parts.query.split("&") for value in part.partition("=")[2].split(",")]
    found = {*user.split(":"), host, *parts.path.split("/"), *values, parts.fragment}
    return {piece for raw in found for piece in (raw, unquote(raw)) if len(piece) >= SHORTEST_SECRET}
