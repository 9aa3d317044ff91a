"""What is kept of an exception: enough to find the fault, nothing of what was passed around in it. Pure."""

from __future__ import annotations

import hashlib
import traceback
from dataclasses import dataclass, replace
from datetime import datetime
from types import FrameType

from core.masking import CONTROL, mask_text, printable

OURS = frozenset({"core", "programs", "metrics", "plugins", "webhooks", "monitor_site"})
FRAMES_OF_A_GROUP = 3
FRAMES_SHOWN = 20
LONGEST_MESSAGE = 500
LONGEST_TRACEBACK = 8000
LONGEST_NAME = 200


@dataclass(frozen=True)
class Occurrence:
    """One error, or `count` of the same. `place`: a route, job, service or command of `process`."""

    fingerprint: str
    kind: str
    culprit: str
    process: str
    place: str
    message: str
    traceback: str
    first_at: datetime
    last_at: datetime
    count: int = 1

    def with_earlier(self, earlier: Occurrence) -> Occurrence:
        """Both as one: the words of this one, the count of both."""
        first_at = min(earlier.first_at, self.first_at)
        count = earlier.count + self.count
        return replace(self, first_at=first_at, count=count, traceback=self.traceback or earlier.traceback)


def sighted(error: BaseException, process: str, place: str, now: datetime) -> Occurrence:
    """Without its traceback, which costs more than the rest: `traceback_of` makes it for the first of a kind."""
    error = _alone(error)
    kind, path = _kind(error), _path(error)
    innermost = path[-FRAMES_OF_A_GROUP:]
    fingerprint = hashlib.sha256("\n".join([kind, *innermost]).encode()).hexdigest()[:16]
    culprit = innermost[-1] if innermost else ""
    return Occurrence(
        fingerprint,
        kind,
        culprit[:LONGEST_NAME],
        process,
        printable(place)[:LONGEST_NAME],
        _message(error),
        "",
        now,
        now,
    )


def traceback_of(error: BaseException) -> str:
    """The innermost frames, masked, without local variables."""
    text = "".join(traceback.format_exception(error, limit=-FRAMES_SHOWN))
    text = CONTROL.sub("\N{REPLACEMENT CHARACTER}", mask_text(text))
    return text if len(text) <= LONGEST_TRACEBACK else "…" + text[1 - LONGEST_TRACEBACK :]


def _alone(error: BaseException) -> BaseException:
    """A task group wraps even a single error; it is the error that matters."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error


def _kind(error: BaseException) -> str:
    kind = type(error)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    return name[:LONGEST_NAME]


def _message(error: BaseException) -> str:
    try:
        text = str(error)
    except Exception as fault:  # an exception that cannot even say what it is
        text = f"(its text could not be made: {type(fault).__name__})"
    return printable(mask_text(text[: 4 * LONGEST_MESSAGE]))[:LONGEST_MESSAGE]


def _path(error: BaseException) -> list[str]:
    """The functions it went through, outermost first: ours, or all of them when none is.

    Line numbers change with every edit and values with every call, so neither is part of it; nor is how often a
    function called itself.
    """
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    names = [_name(frame) for frame in frames if _package(frame) in OURS] or [_name(frame) for frame in frames]
    return [name for place, name in enumerate(names) if place == 0 or names[place - 1] != name]


def _package(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__", "")).partition(".")[0]


def _name(frame: FrameType) -> str:
    return f"{frame.f_globals.get('__name__', '?')}.{frame.f_code.co_qualname}"
