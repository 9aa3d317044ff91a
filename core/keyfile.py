"""Files that hold one generated secret. Imports nothing of Django: the settings read theirs through here."""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Callable
from pathlib import Path


def key_file(path: Path, make: Callable[[], str]) -> str:
    """The secret kept in `path`, generated there with mode 0600 when the file is absent.

    Two processes may start at once: the first to link its file wins and the other reads that one.
    Raises PermissionError when other users could read the file.
    """
    if not path.exists():
        _create(path, make())
    if os.name == "posix" and stat.S_IMODE(path.stat().st_mode) & 0o077:
        raise PermissionError(f"{path} can be read by other users; run: chmod 600 {path}")
    return path.read_text().strip()


def _create(path: Path, secret: str) -> None:
    draft = write_private(path, secret)
    try:
        os.link(draft, path)
    except FileExistsError:
        pass
    finally:
        draft.unlink()


def replace_private(path: Path, text: str) -> None:
    """Puts `text` in place of the file at once: readers and a power cut find the old or the new, never half."""
    write_private(path, text).replace(path)


def write_private(beside: Path, text: str) -> Path:
    """A new file next to `beside` with mode 0600 and one line of text, safely on the disk."""
    draft = beside.with_name(f".{beside.name}.{secrets.token_hex(6)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(text.rstrip() + "\n")
            file.flush()
            os.fsync(file.fileno())
    except OSError:
        draft.unlink()
        raise
    return draft
