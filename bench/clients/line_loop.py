"""Answers JSON lines on standard input with JSON lines on standard output, within an event loop or without."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from typing import Any

Verbs = Mapping[str, Callable[..., Any]]


def answer_one(verbs: Verbs) -> bool:
    """Reads one request and answers it; False when there is none any more."""
    line = sys.stdin.readline()
    if not line:
        return False
    request = json.loads(line)
    try:
        answer = verbs[request.pop("do")](**request) or {}
    except Exception as error:  # whatever went wrong is the caller's to report
        answer = {"error": f"{type(error).__name__}: {error}"}
    print(json.dumps(answer), flush=True)
    return True


def answer_all(verbs: Verbs) -> None:
    while answer_one(verbs):
        pass
