"""The minute stream returns only minutes of which it saw every point."""

from __future__ import annotations

from metrics.storage.accumulator import Accumulator, MinuteStream
from metrics.storage.bucketing import BucketShare, split_usage
from metrics.storage.values import Values
from metrics.tests.fake_writer import usage_sample

MINUTE = 1_800_000_000
BEFORE = MINUTE - 60


def values(cpu: float = 50.0, seconds: float = 2.0) -> Values:
    ((_, found),) = split_usage(usage_sample(cpu, seconds=seconds), [BucketShare(0, 0.0, 1.0)])
    return found


def samples(taken: dict[int, Accumulator] | None) -> dict[int, int]:
    assert taken is not None
    return {program: accumulator.values.samples for program, accumulator in taken.items() if accumulator.values}


def test_a_complete_minute_is_returned_by_program() -> None:
    stream = MinuteStream(BEFORE)
    for second in range(0, 60, 2):
        stream.add(MINUTE + second - second % 10, {1: values(), 2: values()})
    assert samples(stream.take_minute(MINUTE)) == {1: 30, 2: 30}


def test_parts_of_a_point_count_once_in_the_histogram() -> None:
    stream = MinuteStream(BEFORE)
    for _ in range(5):
        stream.add(MINUTE, {1: values()})
    taken = stream.take_minute(MINUTE)
    assert taken is not None
    assert sum(taken[1].cpu.values()) == sum(taken[1].memory.values()) == 1


def test_a_minute_that_began_before_the_stream_is_not_returned() -> None:
    stream = MinuteStream(MINUTE)
    stream.add(MINUTE + 30, {1: values()})
    stream.add(MINUTE + 60, {1: values()})
    assert stream.take_minute(MINUTE) is None
    assert samples(stream.take_minute(MINUTE + 60)) == {1: 1}


def test_a_minute_is_returned_once() -> None:
    stream = MinuteStream(BEFORE)
    stream.add(MINUTE, {1: values()})
    assert stream.take_minute(MINUTE) is not None
    stream.add(MINUTE + 50, {1: values()})
    assert stream.take_minute(MINUTE) is None


def test_minutes_repeated_by_a_clock_change_are_not_returned() -> None:
    stream = MinuteStream(BEFORE)
    for timestamp in (MINUTE, MINUTE + 120, MINUTE + 60, MINUTE + 120, MINUTE + 180):
        stream.add(timestamp, {1: values()})
    assert [stream.take_minute(MINUTE + 60 * number) for number in range(3)] == [None, None, None]
    assert samples(stream.take_minute(MINUTE + 180)) == {1: 1}


def test_a_stopped_program_is_only_in_its_last_minute() -> None:
    stream = MinuteStream(BEFORE)
    stream.add(MINUTE, {1: values(), 2: values()})
    stream.add(MINUTE + 60, {2: values()})
    assert samples(stream.take_minute(MINUTE)) == {1: 1, 2: 1}
    assert samples(stream.take_minute(MINUTE + 60)) == {2: 1}


def test_returned_minutes_are_not_kept() -> None:
    stream = MinuteStream(BEFORE)
    for number in range(1000):
        stream.add(MINUTE + 60 * number, {number: values()})
        stream.take_minute(MINUTE + 60 * number - 60)
    assert len(stream._minutes) + len(stream._points) <= 2
