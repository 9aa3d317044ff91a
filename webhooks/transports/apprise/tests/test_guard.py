"""The guard alone, in a process of its own: it cannot be removed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from webhooks.transports.apprise import process

ROOT = Path(process.__file__).parents[3]
REFUSED = [
    "socket.create_connection(('169.254.169.254', 80), 1)",
    "socket.create_connection(('127.0.0.1', 8000), 1)",
    "socket.create_connection(('localhost', 8000), 1)",
    "socket.socket().connect(('127.0.0.1', 8000))",
    "socket.socket().connect_ex(('0', 8000))",
    "socket.socket().connect(('localhost', 9))",
    "socket.socket(socket.AF_INET6).connect(('::ffff:127.0.0.1', 8000))",
    "socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('224.0.0.1', 9))",
    "socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendmsg([b'x'], [], 0, ('224.0.0.1', 9))",
    "socket.socket(socket.AF_UNIX).connect('/run/dbus/system_bus_socket')",
    "socket.getaddrinfo('169.254.169.254', 80)",
    "asyncio.run(asyncio.open_connection('127.0.0.1', 8000))",
    "open('/etc/passwd')",
    "open('/etc/ssl/../passwd')",
    "os.open('/etc/passwd', os.O_RDONLY)",
    "os.open(os.__file__, os.O_RDWR)",
    "open(os.__file__, 'r+')",
    "open('.env')",
    "open(os.devnull, 'a')",
    "open('/tmp/left-behind', 'w')",
    "subprocess.run(['true'])",
    "os.system('true')",
    "os.fork()",
    "os.posix_spawn('/bin/true', ['true'], {})",
    "os.execv('/bin/true', ['true'])",
]
ALLOWED = [
    "socket.getaddrinfo('localhost', 9)",
    "open(os.__file__)",
    "open(os.devnull)",
    "__import__('xml.etree.ElementTree')",
]
SCRIPT = """
import asyncio, json, os, socket, subprocess, sys
import encodings.idna
from core.http import Policy
from webhooks.transports.apprise.guard import Guard
guard = Guard(Policy("lan", frozenset({8000})))
guard.install()
outcomes = {}
for action in json.load(sys.stdin):
    before = len(guard.refusals)
    try:
        eval(action)
        outcomes[action] = "done"
    except Exception as error:
        outcomes[action] = type(error).__name__
    if len(guard.refusals) > before:
        outcomes[action] = "refused"
print(json.dumps(outcomes))
"""


@pytest.fixture(scope="module")
def outcomes() -> dict[str, str]:
    """The result of each action, all in one process."""
    command = [sys.executable, "-c", SCRIPT]
    given = json.dumps(REFUSED + ALLOWED)
    done = subprocess.run(command, input=given, cwd=ROOT, capture_output=True, text=True, timeout=60)
    found: dict[str, str] = json.loads(done.stdout or "{}")
    return found


@pytest.mark.parametrize("action", REFUSED)
def test_it_refuses(action: str, outcomes: dict[str, str]) -> None:
    assert outcomes[action] == "refused"


@pytest.mark.parametrize("action", ALLOWED)
def test_it_allows(action: str, outcomes: dict[str, str]) -> None:
    assert outcomes[action] == "done"
