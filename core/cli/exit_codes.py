"""How a command ends: its exit code, and the errors that end it with a sentence instead of a traceback."""

from __future__ import annotations

from enum import IntEnum


class Exit(IntEnum):
    DONE = 0
    FAILED = 1
    USAGE = 2
    NOT_RUNNING = 3  # as `systemctl status` says it
    INTERRUPTED = 130  # as a shell reports Ctrl-C


class FailedError(Exception):
    """What was asked cannot be done; the text, of one or more lines, says why."""

    exit = Exit.FAILED


class UsageError(FailedError):
    """The command line itself makes no sense."""

    exit = Exit.USAGE
