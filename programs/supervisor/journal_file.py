"""The journal's entries on disk, until the database has them."""

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
    """Numbered JSON lines.

    Under steady load some entry is always unwritten, so the file is not emptied but rotated; the rotated file is
    removed once all its entries are written.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._rotated = path.with_suffix(".old")
        self._last = 0
        self._last_rotated: int | None = None
        self._descriptor = self._open()

    def _open(self) -> int:
        return os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)

    def read(self) -> Iterator[dict[str, Any]]:
        """The entries an earlier agent left, oldest first. Skips a line that a crash cut short."""
        for path in (self._rotated, self._path):
            for line in path.read_bytes().split(b"\n") if path.exists() else ():
                try:
                    fields = json.loads(line) if line else None
                except ValueError:
                    log.warning("journal.line_skipped", line=line[:200].decode(errors="replace"))
                    continue
                if fields:
                    self._last = max(self._last, fields["number"])
                    yield fields
        if self._rotated.exists():
            self._last_rotated = self._last

    def append(self, fields: dict[str, Any]) -> None:
        """Raises nothing: on a full disk the entry is still in memory, and supervision goes on."""
        # Begins with a newline, because the line before may have been cut short.
        line = b"\n" + json.dumps(fields, separators=(",", ":")).encode() + b"\n"
        self._last = fields["number"]
        try:
            if os.write(self._descriptor, line) < len(line):
                log.error("journal.file_full", path=str(self._path))
        except OSError as error:
            log.error("journal.file_failed", error=str(error))

    def mark_written(self, number: int) -> None:
        """The database has all entries up to `number`: they may be deleted."""
        try:
            if number >= self._last:
                os.ftruncate(self._descriptor, 0)
            if self._last_rotated is not None and number >= self._last_rotated:
                self._rotated.unlink(missing_ok=True)
                self._last_rotated = None
            if self._last_rotated is None and os.fstat(self._descriptor).st_size > ROTATE_BYTES:
                self._rotate()
        except OSError as error:
            log.error("journal.file_failed", error=str(error))

    def _rotate(self) -> None:
        self._path.rename(self._rotated)
        os.close(self._descriptor)
        self._descriptor = self._open()
        self._last_rotated = self._last
