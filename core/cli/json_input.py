"""Reads the JSON that a command gets in a file or on stdin."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from .exit_codes import FailedError
from .terminal import Terminal


def json_object(source: str, terminal: Terminal, expected: str) -> dict[str, Any]:
    """The object in the file `source`, - for stdin. Raises FailedError, whose text names what was `expected`."""
    try:
        text = terminal.stdin.read() if source == "-" else Path(source).read_text(encoding="utf-8")
        values = json.loads(text)
    except OSError as error:
        raise FailedError(f"Can't read {source}: {error.strerror}") from error
    except ValueError as error:
        raise FailedError(f"{source} isn't valid JSON: {error}") from error
    if not isinstance(values, dict):
        raise FailedError(f"{source} must contain {expected}.")
    return values
