"""What a tree used between two looks, whoever came, went or was waited for meanwhile."""

from __future__ import annotations

from metrics.sampling import Sample
from metrics.sampling.cpu_accounting import CpuAccount
from programs.supervisor import platform

MAIN = 100


def process(pid: int, own: int, waited: int = 0, *, parent: int = MAIN, started: float = 1.0) -> Sample:
    return Sample(pid, parent, MAIN, int(started / platform.kernel_seconds(1)), own, waited, 1 << 20, 1)


def table(*processes: Sample) -> dict[int, Sample]:
    return {sample.pid: sample for sample in processes}


def account(*processes: Sample, since: float = 10.0) -> CpuAccount:
    return CpuAccount(since, table(*processes))


def test_the_use_of_one_process_is_the_growth_of_its_counter() -> None:
    book = account(process(MAIN, 500))
    assert book.spent(table(process(MAIN, 700)), 12.0) == 200
    assert book.spent(table(process(MAIN, 700)), 14.0) == 0


def test_a_new_child_counts_with_everything_it_used() -> None:
    book = account(process(MAIN, 500))
    assert book.spent(table(process(MAIN, 500), process(101, 300, started=11.0)), 12.0) == 300


def test_an_old_process_that_joins_counts_from_first_sight() -> None:
    book = account(process(MAIN, 500))
    joined = process(101, 90_000, started=2.0)
    assert book.spent(table(process(MAIN, 500), joined), 12.0) == 0
    assert book.spent(table(process(MAIN, 500), joined._replace(own=90_040)), 14.0) == 40


def test_a_child_that_is_waited_for_moves_to_its_parent_without_being_counted_twice() -> None:
    book = account(process(MAIN, 500), process(101, 3000))
    assert book.spent(table(process(MAIN, 500, waited=3100)), 12.0) == 100


def test_children_nobody_ever_saw_count_through_the_waited_time() -> None:
    book = account(process(MAIN, 500))
    assert book.spent(table(process(MAIN, 500, waited=800)), 12.0) == 800


def test_a_child_reaped_by_a_stranger_takes_nothing_back() -> None:
    book = account(process(MAIN, 500), process(101, 3000))
    assert book.spent(table(process(MAIN, 650)), 12.0) == 150


def test_a_child_that_was_not_waited_for_does_not_hide_those_that_were() -> None:
    book = account(process(MAIN, 500), process(101, 3000), process(102, 200))
    assert book.spent(table(process(MAIN, 500, waited=260)), 12.0) == 60


def test_a_branch_that_ends_at_once_arrives_at_the_nearest_ancestor_alive() -> None:
    book = account(process(MAIN, 0), process(101, 1000, waited=50), process(102, 400, parent=101))
    assert book.spent(table(process(MAIN, 0, waited=1000 + 50 + 400 + 30)), 12.0) == 30


def test_an_orphan_of_the_tree_goes_on_counting_and_ends_without_a_trace() -> None:
    book = account(process(MAIN, 0), process(101, 100), process(102, 400, parent=101))
    orphan = process(102, 450, parent=1)
    assert book.spent(table(process(MAIN, 0, waited=100), orphan), 12.0) == 50
    assert book.spent(table(process(MAIN, 0, waited=100)), 14.0) == 0


def test_a_pid_that_is_somebody_elses_by_now_counts_afresh() -> None:
    book = account(process(MAIN, 0), process(101, 9000))
    assert book.spent(table(process(MAIN, 0, waited=9010), process(101, 20, started=11.0)), 12.0) == 30


def test_a_counter_that_runs_backwards_is_no_negative_use() -> None:
    book = account(process(MAIN, 500, waited=100))
    assert book.spent(table(process(MAIN, 490, waited=90)), 12.0) == 0


def test_a_table_with_a_circle_of_parents_ends() -> None:
    book = account(process(MAIN, 0), process(101, 10, parent=102), process(102, 10, parent=101))
    assert book.spent(table(process(MAIN, 0, waited=5)), 12.0) == 5
