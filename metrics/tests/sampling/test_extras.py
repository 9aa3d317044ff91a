"""Open files and I/O bytes, which are read less often because they cost more."""

from __future__ import annotations

from metrics.sampling import ProcessSample, RootProcess, Sampler, TreeUsage
from metrics.sampling.base import Extras
from metrics.sampling.sampler import MAX_EXTRAS_SKIPPED, ClockReading

KEY = (1, 0)
ROOT = RootProcess(100, 1, "")


class FakeReader:
    """A fake reader with one process, and a fake clock."""

    def __init__(self) -> None:
        self.process = ProcessSample(100, 1, 100, 1, 0, 0, 1 << 20, 1)
        self.extra = Extras(7, 1000, 0)
        self.extras_reads = 0
        self.seconds = 1000.0
        self.sampler = Sampler(
            self, marker_of=lambda pid: None, clock=lambda: ClockReading(self.seconds, self.seconds)
        )

    def read(self) -> dict[int, ProcessSample]:
        return {100: self.process}

    def extras(self, pid: int) -> Extras:
        self.extras_reads += 1
        return self.extra

    def close(self) -> None: ...

    def sample_after_10s(self) -> TreeUsage:
        self.seconds += 10
        return self.sampler.sample({KEY: ROOT}, with_extras=lambda key: True)[KEY]


def test_extras_of_a_sleeping_process_are_reused_for_a_while() -> None:
    reader = FakeReader()
    reader.sample_after_10s()
    found = [reader.sample_after_10s() for _ in range(MAX_EXTRAS_SKIPPED)]
    assert reader.extras_reads == 1
    assert [(usage.open_files, usage.read_bytes, usage.write_bytes) for usage in found] == [(7, 0, 0)] * len(found)


def test_io_of_a_sleeping_process_is_counted_at_the_next_read() -> None:
    reader = FakeReader()
    reader.sample_after_10s()
    reader.extra = Extras(8, 1500, 30)
    found = [reader.sample_after_10s() for _ in range(MAX_EXTRAS_SKIPPED + 1)][-1]
    assert (found.open_files, found.read_bytes, found.write_bytes) == (8, 500, 30)


def test_extras_of_a_process_that_used_cpu_are_read_at_once() -> None:
    reader = FakeReader()
    reader.sample_after_10s()
    reader.process, reader.extra = reader.process._replace(own=10), Extras(9, 1001, 2)
    found = reader.sample_after_10s()
    assert (found.open_files, found.read_bytes, found.write_bytes) == (9, 1, 2)


def test_unreadable_extras_stay_unknown_while_the_process_sleeps() -> None:
    reader = FakeReader()
    reader.extra = Extras(None, None, None)
    reader.sample_after_10s()
    found = reader.sample_after_10s()
    assert (found.open_files, found.read_bytes, found.write_bytes) == (None, None, None)
