"""The agent's entries on disk, from the moment they happen until the database has them."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import structlog

log = structlog.get_logger(__name__)

ROTATE_BYTES = 1024 * 1024


class JournalFile:
    """Numbered JSON lines. `written` says up to which number they may be forgotten.

    Under steady load there is always something unwritten, so the file is not emptied but turned over: what was
    there goes aside, and is removed once all of it is written.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._aside = path.with_suffix(".old")
        self._last = 0
        self._last_aside: int | None = None
        self._descriptor = self._open()

    def _open(self) -> int:
        return os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)

    def read(self) -> Iterator[dict[str, Any]]:
        """What an earlier agent left, oldest first, without a line that a crash cut short."""
        for path in (self._aside, self._path):
            for line in path.read_bytes().split(b"\n") if path.exists() else ():
                try:
                    fields = json.loads(line) if line else None
                except ValueError:
                    log.warning("journal.line_skipped", line=line[:200].decode(errors="replace"))
                    continue
                if fields:
                    self._last = max(self._last, fields["number"])
                    yield fields
        if self._aside.exists():
            self._last_aside = self._last

    def append(self, fields: dict[str, Any]) -> None:
        """Raises nothing: on a full disk memory still has the entry, and supervision goes on."""
        # The newline before it keeps a line whole although the one before was cut short.
        line = b"\n" + json.dumps(fields, separators=(",", ":")).encode() + b"\n"
        self._last = fields["number"]
        try:
            if os.write(self._descriptor, line) < len(line):
                log.error("journal.file_full", path=str(self._path))
        except OSError as error:
            log.error("journal.file_failed", error=str(error))

    def written(self, number: int) -> None:
        """The database has everything up to `number`."""
        try:
            if number >= self._last:
                os.ftruncate(self._descriptor, 0)
            if self._last_aside is not None and number >= self._last_aside:
                self._aside.unlink(missing_ok=True)
                self._last_aside = None
            if self._last_aside is None and os.fstat(self._descriptor).st_size > ROTATE_BYTES:
                self._turn_over()
        except OSError as error:
            log.error("journal.file_failed", error=str(error))

    def _turn_over(self) -> None:
        self._path.rename(self._aside)
        os.close(self._descriptor)
        self._descriptor = self._open()
        self._last_aside = self._last
