"""Starts the process that sends with Apprise (`child`), and kills it if it takes too long."""

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
MAX_PROCESSES = 3
ROOT = Path(__file__).resolve().parents[3]
COMMAND = [sys.executable, "-B", "-E", "-s", "-m", "webhooks.transports.apprise.child"]
# MONITOR_JOBS marks the processes of a job cluster, so that they are stopped with it.
INHERITED_VARIABLES = ("PATH", "LANG", "SYSTEMROOT", "SSL_CERT_FILE", "MONITOR_JOBS")
MIN_SECRET_LENGTH = 4

Result = dict[str, Any]


def encode_job(url: str, policy: Policy, **message: Any) -> bytes:
    # For standard input: other users can read a command line.
    rules = {
        "network": policy.network,
        "own_ports": sorted(policy.own_ports),
        "service_ports": sorted(policy.service_ports),
    }
    empty = {"title": "", "head": "", "lines": [], "tail": "", "type": "info"}
    limits = {"seconds": KILL_SECONDS, "only_check": False}
    return json.dumps({"policy": rules, "url": url, **empty, **limits, **message}).encode()


def run(job: bytes) -> Result:
    """Blocks for up to `KILL_SECONDS`. Raises TransportError."""
    try:
        done = subprocess.run(
            COMMAND, input=job, stdout=subprocess.PIPE, timeout=KILL_SECONDS, **_process_options()
        )
    except OSError as error:
        raise _not_started(error) from error
    except subprocess.TimeoutExpired:
        raise _too_slow(KILL_SECONDS) from None
    return _parse(done.stdout, done.returncode)


async def run_async(job: bytes, seconds: float) -> Result:
    """Like `run`, without blocking. Kills the process after `seconds`, and on cancellation."""
    try:
        process = await asyncio.create_subprocess_exec(
            *COMMAND, stdin=subprocess.PIPE, stdout=subprocess.PIPE, **_process_options()
        )
    except OSError as error:
        raise _not_started(error) from error
    try:
        async with asyncio.timeout(seconds):
            output, _ = await process.communicate(job)
    except TimeoutError:
        raise _too_slow(seconds) from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return _parse(output, process.returncode)


def _environment() -> dict[str, str]:
    # No proxy variables, and a home directory without configuration files.
    inherited = {name: os.environ[name] for name in INHERITED_VARIABLES if name in os.environ}
    certificates = os.environ.get("SSL_CERT_FILE")
    return {**inherited, "HOME": os.devnull, **({"REQUESTS_CA_BUNDLE": certificates} if certificates else {})}


def _process_options() -> dict[str, Any]:
    # A session of its own: signals of a terminal do not reach it.
    return {"stderr": subprocess.DEVNULL, "cwd": ROOT, "env": _environment(), "start_new_session": True}


def _not_started(error: OSError) -> TransportError:
    return TransportError("failed", f"The sending process cannot be started: {error.strerror}.", connected=False)


def _too_slow(seconds: float) -> TransportError:
    return TransportError("timeout", f"The service did not finish within {seconds:.0f} s.")


def _parse(output: bytes, code: int | None) -> Result:
    try:
        result: Result = json.loads(output)
    except ValueError:
        how = f"signal {-code}" if code is not None and code < 0 else f"code {code}"
        raise TransportError("failed", f"The sending process exited with {how} without a result.") from None
    return result


def masked_text(text: str, url: str) -> str:
    # Each part of the URL may be a token.
    return mask(" ".join(text.split()), sorted(_secret_parts(url)))


def _secret_parts(url: str) -> set[str]:
    # Except a host with a dot: many services have a token in the place of the host.
    parts = urlsplit(url)
    user, _, host = parts.netloc.rpartition("@")
    host = "" if "." in host or ":" in host else host
    values = [value for part in parts.query.split("&") for value in part.partition("=")[2].split(",")]
    found = {*user.split(":"), host, *parts.path.split("/"), *values, parts.fragment}
    return {piece for raw in found for piece in (raw, unquote(raw)) if len(piece) >= MIN_SECRET_LENGTH}
