"""Answers requests that come as JSON lines on standard input with JSON lines on standard output."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from typing import Any

Commands = Mapping[str, Callable[..., Any]]


def answer_request(commands: Commands) -> bool:
    """Read one request and answer it. Returns False at the end of the input."""
    line = sys.stdin.readline()
    if not line:
        return False
    request = json.loads(line)
    try:
        answer = commands[request.pop("do")](**request) or {}
    except Exception as error:  # the caller reports it
        answer = {"error": f"{type(error).__name__}: {error}"}
    print(json.dumps(answer), flush=True)
    return True


def answer_requests(commands: Commands) -> None:
    while answer_request(commands):
        pass
