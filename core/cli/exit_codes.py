"""Exit codes, and the errors that end a command with a sentence instead of a traceback."""

from __future__ import annotations

from enum import IntEnum


class Exit(IntEnum):
    DONE = 0
    FAILED = 1
    USAGE = 2
    NOT_RUNNING = 3  # like `systemctl status`
    INTERRUPTED = 130  # like a shell after Ctrl-C


class FailedError(Exception):
    """The request can't be carried out; the text, one or more lines, says why."""

    exit = Exit.FAILED


class UsageError(FailedError):
    """The command line is wrong."""

    exit = Exit.USAGE
