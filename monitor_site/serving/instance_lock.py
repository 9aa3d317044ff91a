"""Allows one `serve` per data folder. `RUN_DIR/serve.json` tells a second one where the first one runs."""

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
    errno.EACCES: "this user has no write permission",
    errno.EPERM: "this user has no write permission",
    errno.EROFS: "it is mounted read-only",
}


class InstanceLock:
    """`was_killed`: the previous `serve` could not delete its file, so its processes may still be stopping."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self.was_killed = file.exists()

    def publish(self, url: str) -> None:
        """Raises CommandError when the folder is not writable."""
        try:
            self._file.write_text(json.dumps({"pid": os.getpid(), "url": url}))
        except OSError as error:
            raise CommandError(_unusable(error)) from error

    def remove_file(self) -> None:
        with contextlib.suppress(OSError):  # a full disk or a deleted folder must not break the shutdown
            self._file.unlink(missing_ok=True)


@contextlib.contextmanager
def instance_lock() -> Iterator[InstanceLock]:
    """Raises CommandError when another `serve` runs on the data folder or the folder is not usable."""
    file = Path(settings.RUN_DIR) / "serve.json"
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(locks.hold("serve"))
        except locks.HeldError as error:
            raise CommandError(f"The monitor already runs on {settings.DATA_DIR}{_running_at(file)}.") from error
        except OSError as error:
            raise CommandError(_unusable(error)) from error
        lock = InstanceLock(file)
        stack.callback(lock.remove_file)
        yield lock


def _running_at(file: Path) -> str:
    """` (pid 42) at http://…/`; empty while the other one is starting."""
    try:
        running = json.loads(file.read_text())
    except (OSError, ValueError):
        return ""
    return f" (pid {running['pid']}) at {running['url']}/"


def _unusable(error: OSError) -> str:
    reason = REASONS.get(error.errno or 0, error.strerror or str(error))
    return f"Cannot use the data folder {settings.DATA_DIR}: {reason}. Set DATA_DIR to another folder."
