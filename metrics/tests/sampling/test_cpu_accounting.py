"""The increase of a tree's CPU time between two samples, while processes start, end and are reaped."""

from __future__ import annotations

from metrics.sampling import ProcessSample
from metrics.sampling.cpu_accounting import CounterDelta
from programs.supervisor import platform

MAIN = 100


def process(pid: int, own: int, reaped: int = 0, *, parent: int = MAIN, started: float = 1.0) -> ProcessSample:
    return ProcessSample(pid, parent, MAIN, int(started / platform.kernel_seconds(1)), own, reaped, 1 << 20, 1)


def table(*processes: ProcessSample) -> dict[int, ProcessSample]:
    return {sample.pid: sample for sample in processes}


def counter(*processes: ProcessSample, since: float = 10.0) -> CounterDelta:
    return CounterDelta(since, table(*processes))


def test_usage_of_one_process_is_the_increase_of_its_counter() -> None:
    delta = counter(process(MAIN, 500))
    assert delta.advance(table(process(MAIN, 700)), 12.0) == 200
    assert delta.advance(table(process(MAIN, 700)), 14.0) == 0


def test_a_new_child_counts_with_its_whole_total() -> None:
    delta = counter(process(MAIN, 500))
    assert delta.advance(table(process(MAIN, 500), process(101, 300, started=11.0)), 12.0) == 300


def test_an_old_process_that_joins_counts_from_its_first_sample() -> None:
    delta = counter(process(MAIN, 500))
    joined = process(101, 90_000, started=2.0)
    assert delta.advance(table(process(MAIN, 500), joined), 12.0) == 0
    assert delta.advance(table(process(MAIN, 500), joined._replace(own=90_040)), 14.0) == 40


def test_a_reaped_child_is_not_counted_twice() -> None:
    delta = counter(process(MAIN, 500), process(101, 3000))
    assert delta.advance(table(process(MAIN, 500, reaped=3100)), 12.0) == 100


def test_children_that_were_never_sampled_count_when_reaped() -> None:
    delta = counter(process(MAIN, 500))
    assert delta.advance(table(process(MAIN, 500, reaped=800)), 12.0) == 800


def test_a_child_reaped_by_another_process_reduces_nothing() -> None:
    delta = counter(process(MAIN, 500), process(101, 3000))
    assert delta.advance(table(process(MAIN, 650)), 12.0) == 150


def test_a_child_that_was_not_reaped_does_not_hide_those_that_were() -> None:
    delta = counter(process(MAIN, 500), process(101, 3000), process(102, 200))
    assert delta.advance(table(process(MAIN, 500, reaped=260)), 12.0) == 60


def test_a_branch_that_ends_is_credited_to_the_nearest_living_ancestor() -> None:
    delta = counter(process(MAIN, 0), process(101, 1000, reaped=50), process(102, 400, parent=101))
    assert delta.advance(table(process(MAIN, 0, reaped=1000 + 50 + 400 + 30)), 12.0) == 30


def test_an_orphan_keeps_counting_and_its_end_changes_nothing() -> None:
    delta = counter(process(MAIN, 0), process(101, 100), process(102, 400, parent=101))
    orphan = process(102, 450, parent=1)
    assert delta.advance(table(process(MAIN, 0, reaped=100), orphan), 12.0) == 50
    assert delta.advance(table(process(MAIN, 0, reaped=100)), 14.0) == 0


def test_a_reused_pid_counts_as_a_new_process() -> None:
    delta = counter(process(MAIN, 0), process(101, 9000))
    assert delta.advance(table(process(MAIN, 0, reaped=9010), process(101, 20, started=11.0)), 12.0) == 30


def test_a_counter_reset_is_not_negative_usage() -> None:
    delta = counter(process(MAIN, 500, reaped=100))
    assert delta.advance(table(process(MAIN, 490, reaped=90)), 12.0) == 0


def test_a_circle_of_parents_terminates() -> None:
    delta = counter(process(MAIN, 0), process(101, 10, parent=102), process(102, 10, parent=101))
    assert delta.advance(table(process(MAIN, 0, reaped=5)), 12.0) == 5
