"""Files that hold one generated secret. Imports nothing of Django: the settings read theirs through here."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path


def key_file(path: Path, make: Callable[[], str]) -> str:
    """The secret kept in `path`, generated there with mode 0600 when the file is absent.

    Two processes may start at once: the first to link its file wins and the other reads that one.
    Raises PermissionError when other users could read the file.
    """
    if not path.exists():
        draft = path.with_name(f".{path.name}.{os.getpid()}")
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(make() + "\n")
        try:
            os.link(draft, path)
        except FileExistsError:
            pass
        finally:
            draft.unlink()
    if os.name == "posix" and stat.S_IMODE(path.stat().st_mode) & 0o077:
        raise PermissionError(f"{path} can be read by other users; run: chmod 600 {path}")
    return path.read_text().strip()
