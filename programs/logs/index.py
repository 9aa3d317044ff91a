"""When which part of a log was written: pairs (logical offset, Unix seconds), noted while the log grows.

A note says: up to this offset the log had grown by this time. A line is dated by the first note at or after its
end, so it was written between that time and the note before: within one tick of the agent.
"""

from __future__ import annotations

import logging
import os
import struct
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from io import FileIO

from .filesystem import write_all
from .paths import LogFile, create_private, private
from .reader import Reader

logger = logging.getLogger(__name__)

NOTE = struct.Struct("=Qd")
MISSING = (0, 0, 0)
MAX_NOTES = 8192  # 128 KiB; at one note every 2 s the newest two hours keep them all


class Notes:
    """The notes of one log, for look-ups."""

    def __init__(self, data: bytes = b"") -> None:
        data = data[: len(data) // NOTE.size * NOTE.size]
        self.offsets = array("Q", data)[::2]
        self.times = array("d", data)[1::2]

    @classmethod
    def load(cls, log: LogFile) -> Notes:
        try:
            return cls(log.time_index.read_bytes())
        except FileNotFoundError:
            return cls()

    @classmethod
    def up_to(cls, reader: Reader) -> Notes:
        """With what was written since the last note, dated by the live file's last write."""
        notes = cls.load(reader.log)
        if reader.modified is not None and reader.end > notes.last_offset:
            notes.append(reader.end, reader.modified)
        return notes

    @property
    def last_offset(self) -> int:
        return self.offsets[-1] if self.offsets else 0

    def append(self, offset: int, time: float) -> None:
        self.offsets.append(offset)
        self.times.append(max(time, self.times[-1]) if self.times else time)

    def time_at(self, end: int) -> float | None:
        """When a line that ends at the offset `end` was written, at the latest."""
        at = bisect_left(self.offsets, end)
        return self.times[at] if at < len(self.times) else None

    def offset_before(self, time: float) -> int:
        """All that ends at or below it was written before `time`."""
        return self._offset(bisect_left(self.times, time))

    def offset_until(self, time: float) -> int:
        """All that ends at or below it was written at or before `time`."""
        return self._offset(bisect_right(self.times, time))

    def _offset(self, count: int) -> int:
        return self.offsets[count - 1] if count else 0


class TimeIndex:
    """Writes the notes of all logs, tick by tick. There must be only one writer: the agent's worker thread."""

    def __init__(self) -> None:
        self._seen: dict[str, tuple[int, int, int]] = {}

    def note(self, logs: Iterable[LogFile], now: float) -> None:
        """Note where each log ends at `now` (Unix seconds). An unchanged log costs one stat.

        A note that cannot be written is reported in the monitor's log and tried again at the next tick.
        """
        seen, errors = {}, []
        for log in logs:
            name = log.live_name
            try:
                stat = os.stat(name)  # noqa: PTH116
                seen[name] = mark = (stat.st_ino, stat.st_size, stat.st_mtime_ns)
                if self._seen.get(name) != mark:
                    _note(log, now)
            except FileNotFoundError:
                seen[name] = MISSING
            except OSError as error:
                seen.pop(name, None)
                errors.append(error)
        if errors:
            logger.warning("Time indexes that could not be written: %d, for example: %s", len(errors), errors[0])
        self._seen = seen

    def size(self, log: LogFile) -> int | None:
        """Of the live file at the last note; None where the note failed."""
        seen = self._seen.get(log.live_name)
        return seen[1] if seen else None


def _note(log: LogFile, now: float) -> None:
    with Reader(log) as reader, FileIO(log.time_index, "a+", opener=private) as file:
        time = now if reader.modified is None else min(now, reader.modified)
        count, torn = divmod(file.tell(), NOTE.size)
        if torn:
            file.truncate(count * NOTE.size)
        last_offset, last_time = _last_note(file, count)
        if reader.end > last_offset and time >= last_time and count < MAX_NOTES:
            write_all(file, NOTE.pack(reader.end, time))
        elif reader.end != last_offset:
            _rewrite(reader, time)


def _last_note(file: FileIO, count: int) -> tuple[int, float]:
    if not count:
        return 0, 0.0
    file.seek((count - 1) * NOTE.size)
    offset, time = NOTE.unpack(file.read(NOTE.size))
    return offset, time


def _rewrite(reader: Reader, time: float) -> None:
    """Thin a full index, or bring it in line after the log was cut from outside or the clock went back."""
    old = Notes.load(reader.log)
    pairs = zip(old.offsets, old.times, strict=True)
    notes = [(offset, min(then, time)) for offset, then in pairs if reader.start < offset < reader.end]
    if len(notes) > MAX_NOTES // 2:
        half = len(notes) // 2
        notes = notes[:half:2] + notes[half:]
    part = reader.log.time_index.with_suffix(".times.part")
    with create_private(part) as file:
        write_all(file, b"".join(NOTE.pack(*note) for note in [*notes, (reader.end, time)]))
    part.rename(reader.log.time_index)
