"""The time index of a log: entries (logical offset, Unix seconds) that map positions to times.

The agent adds an entry per tick in which the log has grown: at this time the log ended at this offset. The time of
a line is that of the first entry at or after its end, so it is accurate to one tick.
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
from .paths import LogFile, create_private, open_existing, private_opener
from .reader import Reader

logger = logging.getLogger(__name__)

ENTRY = struct.Struct("=Qd")
MISSING = (0, 0, 0)
MAX_ENTRIES = 8192  # 128 KiB; with one entry every 2 s, the last two hours are never thinned out


class TimeIndex:
    def __init__(self, data: bytes = b"") -> None:
        data = data[: len(data) // ENTRY.size * ENTRY.size]
        self.offsets = array("Q", data)[::2]
        self.times = array("d", data)[1::2]

    @classmethod
    def load(cls, log: LogFile) -> TimeIndex:
        try:
            with open_existing(log.time_index) as file:
                return cls(file.read())
        except FileNotFoundError:
            return cls()

    @classmethod
    def of_reader(cls, reader: Reader) -> TimeIndex:
        """Adds an entry for the bytes written since the last one, with the live file's modification time."""
        index = cls.load(reader.log)
        if reader.modified is not None and reader.end > index.last_offset:
            index.append(reader.end, reader.modified)
        return index

    @property
    def last_offset(self) -> int:
        return self.offsets[-1] if self.offsets else 0

    def append(self, offset: int, time: float) -> None:
        self.offsets.append(offset)
        # The clock can go back, but `bisect` needs sorted times.
        self.times.append(max(time, self.times[-1]) if self.times else time)

    def time_at(self, end: int) -> float | None:
        """The time of a line that ends at the offset `end`. None after the last entry."""
        at = bisect_left(self.offsets, end)
        return self.times[at] if at < len(self.times) else None

    def offset_before(self, time: float) -> int:
        """Lines that end at or below the result were written before `time`."""
        return self._offset(bisect_left(self.times, time))

    def offset_until(self, time: float) -> int:
        """Lines that end at or below the result were written at or before `time`."""
        return self._offset(bisect_right(self.times, time))

    def _offset(self, count: int) -> int:
        return self.offsets[count - 1] if count else 0


class TimeIndexWriter:
    """Adds entries to the time indexes of all logs. Only one writer may exist: the agent's worker thread."""

    def __init__(self) -> None:
        self._states: dict[str, tuple[int, int, int]] = {}

    def update(self, logs: Iterable[LogFile], now: float) -> None:
        """Records the end of each log at `now` (Unix seconds). An unchanged log costs one stat.

        Logs errors and tries again in the next tick.
        """
        states, errors = {}, []
        for log in logs:
            name = log.live_name
            try:
                stat = os.stat(name)  # noqa: PTH116
                states[name] = state = (stat.st_ino, stat.st_size, stat.st_mtime_ns)
                if self._states.get(name) != state:
                    _record(log, now)
            except FileNotFoundError:
                states[name] = MISSING
            except OSError as error:
                states.pop(name, None)
                errors.append(error)
        if errors:
            logger.warning("%d time indexes could not be written, for example: %s", len(errors), errors[0])
        self._states = states

    def size(self, log: LogFile) -> int | None:
        state = self._states.get(log.live_name)
        return state[1] if state else None


def _record(log: LogFile, now: float) -> None:
    with Reader(log) as reader, FileIO(log.time_index, "a+", opener=private_opener) as file:
        time = now if reader.modified is None else min(now, reader.modified)
        count, torn = divmod(file.tell(), ENTRY.size)
        if torn:  # a crash wrote only a part of the last entry
            file.truncate(count * ENTRY.size)
        last_offset, last_time = _last_entry(file, count)
        if reader.end > last_offset and time >= last_time and count < MAX_ENTRIES:
            write_all(file, ENTRY.pack(reader.end, time))
        elif reader.end != last_offset:
            _rewrite(reader, time)


def _last_entry(file: FileIO, count: int) -> tuple[int, float]:
    if not count:
        return 0, 0.0
    file.seek((count - 1) * ENTRY.size)
    offset, time = ENTRY.unpack(file.read(ENTRY.size))
    return offset, time


def _rewrite(reader: Reader, time: float) -> None:
    """Thins out a full index; repairs one after the log was truncated or the clock went back."""
    old = TimeIndex.load(reader.log)
    pairs = zip(old.offsets, old.times, strict=True)
    entries = [(offset, min(then, time)) for offset, then in pairs if reader.start < offset < reader.end]
    if len(entries) > MAX_ENTRIES // 2:
        half = len(entries) // 2
        entries = entries[:half:2] + entries[half:]
    part = reader.log.time_index.with_suffix(".times.part")
    with create_private(part) as file:
        write_all(file, b"".join(ENTRY.pack(*entry) for entry in [*entries, (reader.end, time)]))
    part.rename(reader.log.time_index)
