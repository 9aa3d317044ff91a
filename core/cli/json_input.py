"""What a command is given as JSON, in a file or on stdin."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from .exit_codes import FailedError
from .terminal import Terminal


def json_object(source: str, terminal: Terminal, expected: str) -> dict[str, Any]:
    """The object in the file `source`, - for stdin. Raises FailedError; `expected` says what belongs there."""
    try:
        text = terminal.stdin.read() if source == "-" else Path(source).read_text(encoding="utf-8")
        values = json.loads(text)
    except OSError as error:
        raise FailedError(f"{source} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise FailedError(f"{source} holds no JSON: {error}") from error
    if not isinstance(values, dict):
        raise FailedError(f"{source} must hold {expected}.")
    return values
