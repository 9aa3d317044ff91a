"""What is stored of an exception: enough to find the bug, but no values of variables. Pure."""

from __future__ import annotations

import hashlib
import traceback
from dataclasses import dataclass, replace
from datetime import datetime
from types import FrameType

from core.masking import CONTROL, mask_text, printable

OUR_PACKAGES = frozenset({"core", "programs", "metrics", "plugins", "webhooks", "monitor_site"})
FINGERPRINT_FRAMES = 3
TRACEBACK_FRAMES = 20
MAX_MESSAGE = 500
MAX_TRACEBACK = 8000
MAX_NAME = 200


@dataclass(frozen=True)
class Occurrence:
    """`count` errors with the same fingerprint. `place`: a route, job, service or command of `process`."""

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

    def merged_with(self, earlier: Occurrence) -> Occurrence:
        first_at = min(earlier.first_at, self.first_at)
        count = earlier.count + self.count
        return replace(self, first_at=first_at, count=count, traceback=self.traceback or earlier.traceback)


def make_occurrence(error: BaseException, process: str, place: str, now: datetime) -> Occurrence:
    # Leaves the traceback empty: formatting it costs more than the rest, so only the first of a group gets it.
    error = _unwrap(error)
    kind, path = _kind(error), _call_path(error)
    innermost = path[-FINGERPRINT_FRAMES:]
    fingerprint = hashlib.sha256("\n".join([kind, *innermost]).encode()).hexdigest()[:16]
    culprit = innermost[-1] if innermost else ""
    return Occurrence(
        fingerprint,
        kind,
        culprit[:MAX_NAME],
        process,
        printable(place)[:MAX_NAME],
        _message(error),
        "",
        now,
        now,
    )


def format_traceback(error: BaseException) -> str:
    text = "".join(traceback.format_exception(error, limit=-TRACEBACK_FRAMES))
    text = CONTROL.sub("\N{REPLACEMENT CHARACTER}", mask_text(text))
    return text if len(text) <= MAX_TRACEBACK else "…" + text[1 - MAX_TRACEBACK :]


def _unwrap(error: BaseException) -> BaseException:
    # A task group wraps even a single error.
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error


def _kind(error: BaseException) -> str:
    kind = type(error)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    return name[:MAX_NAME]


def _message(error: BaseException) -> str:
    try:
        text = str(error)
    except Exception as fault:  # its __str__ is broken
        text = f"(no text: __str__ raised {type(fault).__name__})"
    return printable(mask_text(text[: 4 * MAX_MESSAGE]))[:MAX_MESSAGE]


def _call_path(error: BaseException) -> list[str]:
    """The functions in the traceback, outermost first: only ours, or all of them if none is ours.

    Contains no line numbers, values or recursion depths, so that the fingerprint survives edits and other calls.
    """
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    names = [_name(frame) for frame in frames if _package(frame) in OUR_PACKAGES] or [
        _name(frame) for frame in frames
    ]
    return [name for index, name in enumerate(names) if index == 0 or names[index - 1] != name]


def _package(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__", "")).partition(".")[0]


def _name(frame: FrameType) -> str:
    return f"{frame.f_globals.get('__name__', '?')}.{frame.f_code.co_qualname}"
