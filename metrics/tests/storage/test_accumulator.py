"""The stream vouches only for what it saw whole."""

from __future__ import annotations

from metrics.storage.accumulator import Accumulator, MinuteStream
from metrics.storage.bucketing import Piece, parts
from metrics.storage.values import Values
from metrics.tests.writing import usage_sample

MINUTE = 1_800_000_000
BEFORE = MINUTE - 60


def values(cpu: float = 50.0, seconds: float = 2.0) -> Values:
    ((_, found),) = parts(usage_sample(cpu, seconds=seconds), [Piece(0, 0.0, 1.0)])
    return found


def samples(taken: dict[int, Accumulator] | None) -> dict[int, int]:
    assert taken is not None
    return {program: stretch.values.samples for program, stretch in taken.items() if stretch.values}


def test_a_whole_minute_comes_out_by_program() -> None:
    stream = MinuteStream(BEFORE)
    for second in range(0, 60, 2):
        stream.add(MINUTE + second - second % 10, {1: values(), 2: values()})
    assert samples(stream.take(MINUTE)) == {1: 30, 2: 30}


def test_parts_of_one_point_are_one_point_of_the_histogram() -> None:
    stream = MinuteStream(BEFORE)
    for _ in range(5):
        stream.add(MINUTE, {1: values()})
    taken = stream.take(MINUTE)
    assert taken is not None
    assert sum(taken[1].cpu.values()) == sum(taken[1].memory.values()) == 1


def test_a_minute_that_the_database_had_parts_of_is_left_to_it() -> None:
    stream = MinuteStream(MINUTE)
    stream.add(MINUTE + 30, {1: values()})
    stream.add(MINUTE + 60, {1: values()})
    assert stream.take(MINUTE) is None
    assert samples(stream.take(MINUTE + 60)) == {1: 1}


def test_a_minute_is_given_out_once() -> None:
    stream = MinuteStream(BEFORE)
    stream.add(MINUTE, {1: values()})
    assert stream.take(MINUTE) is not None
    stream.add(MINUTE + 50, {1: values()})
    assert stream.take(MINUTE) is None


def test_minutes_gone_through_twice_are_left_to_the_database() -> None:
    stream = MinuteStream(BEFORE)
    for timestamp in (MINUTE, MINUTE + 120, MINUTE + 60, MINUTE + 120, MINUTE + 180):
        stream.add(timestamp, {1: values()})
    assert [stream.take(MINUTE + 60 * number) for number in range(3)] == [None, None, None]
    assert samples(stream.take(MINUTE + 180)) == {1: 1}


def test_a_program_that_stopped_is_in_its_last_minute_alone() -> None:
    stream = MinuteStream(BEFORE)
    stream.add(MINUTE, {1: values(), 2: values()})
    stream.add(MINUTE + 60, {2: values()})
    assert samples(stream.take(MINUTE)) == {1: 1, 2: 1}
    assert samples(stream.take(MINUTE + 60)) == {2: 1}


def test_nothing_is_kept_of_minutes_that_were_given_out() -> None:
    stream = MinuteStream(BEFORE)
    for number in range(1000):
        stream.add(MINUTE + 60 * number, {number: values()})
        stream.take(MINUTE + 60 * number - 60)
    assert len(stream._minutes) + len(stream._points) <= 2
