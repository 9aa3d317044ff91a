"""One `serve` per data folder, and what it tells the others about itself in `RUN_DIR/serve.json`."""

from __future__ import annotations

import contextlib
import errno
import json
import os
from collections.abc import Iterator
from pathlib import Path

from django.conf import settings
from django.core.management.base import CommandError

from core import locks

REASONS = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "this user's disk quota is used up",
    errno.EACCES: "this user may not write there",
    errno.EPERM: "this user may not write there",
    errno.EROFS: "it is mounted read-only",
}


class Claim:
    """Our hold on the data folder. `had_predecessor`: a `serve` before us was killed and could not tidy up."""

    def __init__(self, note: Path) -> None:
        self._note = note
        self.had_predecessor = note.exists()

    def introduce(self, url: str) -> None:
        """Lets whoever comes second know who is here. Raises CommandError when the folder cannot be written."""
        try:
            self._note.write_text(json.dumps({"pid": os.getpid(), "url": url}))
        except OSError as error:
            raise CommandError(_unusable(error)) from error

    def leave(self) -> None:
        with contextlib.suppress(OSError):  # a full disk or a vanished folder must not spoil an orderly end
            self._note.unlink(missing_ok=True)


@contextlib.contextmanager
def claim() -> Iterator[Claim]:
    """Holds the data folder for the block. Raises CommandError: another `serve` has it, or it is unusable."""
    note = Path(settings.RUN_DIR) / "serve.json"
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(locks.hold("serve"))
        except locks.HeldError as error:
            raise CommandError(f"The monitor already runs on {settings.DATA_DIR}{_who(note)}.") from error
        except OSError as error:
            raise CommandError(_unusable(error)) from error
        held = Claim(note)
        stack.callback(held.leave)
        yield held


def _who(note: Path) -> str:
    try:
        held = json.loads(note.read_text())
    except (OSError, ValueError):  # it has only just started
        return ""
    return f" (pid {held['pid']}) at {held['url']}/"


def _unusable(error: OSError) -> str:
    reason = REASONS.get(error.errno or 0, error.strerror or str(error))
    return f"The data folder {settings.DATA_DIR} cannot be used: {reason}. DATA_DIR chooses another."
