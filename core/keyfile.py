"""Files that hold one generated secret. Does not import Django, because the settings module uses it."""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Callable
from pathlib import Path


class KeyFileError(ValueError):
    """Why a key file cannot be used; one sentence for the user.

    Not an OSError: handlers of those show `strerror`, which an error of ours does not have.
    """


def key_file(path: Path, make: Callable[[], str]) -> str:
    """Reads the secret in `path`; generates it with mode 0600 when the file is missing. Raises KeyFileError."""
    if not path.exists():
        create(path, make())
    return read(path)


def read(path: Path) -> str:
    """Raises KeyFileError for a file that other users can read and for one without text, OSError when missing."""
    check_private(path)
    try:
        text = path.read_text().strip()
    except UnicodeDecodeError as error:
        raise KeyFileError(f"{path} is damaged; restore it from a backup") from error
    if not text:
        raise KeyFileError(f"{path} is empty; restore it from a backup")
    return text


def check_private(path: Path) -> None:
    if os.name == "posix" and stat.S_IMODE(path.stat().st_mode) & 0o077:
        raise KeyFileError(f"{path} is readable by other users; run: chmod 600 {path}")


def create(path: Path, secret: str) -> None:
    draft = write_private(path, secret)
    try:
        os.link(draft, path)  # of two processes that start together the first wins; the other reads its file
    except FileExistsError:
        pass
    finally:
        draft.unlink()


def replace_private(path: Path, text: str) -> None:
    """Replaces the file atomically: readers, also after a power cut, see the old or the new text."""
    write_private(path, text).replace(path)


def write_private(beside: Path, text: str) -> Path:
    """Writes and syncs a new file with mode 0600 in the folder of `beside`."""
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
