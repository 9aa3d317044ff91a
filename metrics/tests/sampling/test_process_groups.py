"""Assignment of processes to programs, from one process table to the next."""

from __future__ import annotations

import random

from metrics.sampling import ProcessSample, RootProcess
from metrics.sampling.base import InstanceKey
from metrics.sampling.process_groups import Members, ProcessGroups

ROOTS = {(1, 0): RootProcess(100, 1, "a"), (2, 0): RootProcess(200, 1, "b")}
Table = dict[int, ProcessSample]


def process(pid: int, parent: int = 1, *, session: int = 0, start: int = 1, own: int = 0) -> ProcessSample:
    return ProcessSample(pid, parent, session or pid, start, own, 0, 1 << 20, 1)


def table(*processes: ProcessSample) -> Table:
    return {sample.pid: sample for sample in processes}


def unmarked(pid: int) -> None:
    return None


def pids(groups: dict[InstanceKey, Members]) -> dict[InstanceKey, set[int]]:
    return {key: set(members) for key, members in groups.items()}


class FullRebuild(ProcessGroups):
    """Examines every process in every table."""

    def _update(self, before: object, ended: object) -> dict[InstanceKey, Members]:
        return self._rebuild(self._roots)


def next_table(now: Table, dice: random.Random, start: int) -> Table:
    """Some processes end, work or start (perhaps with a pid just freed); orphans move to pid 1."""
    left = {pid: sample for pid, sample in now.items() if pid in (1, 100, 200) or dice.random() > 0.1}
    for pid, sample in list(left.items()):
        if dice.random() < 0.3:
            left[pid] = sample._replace(own=sample.own + 10)
        if sample.ppid not in left:
            left[pid] = left[pid]._replace(ppid=1)
    for _ in range(dice.randrange(4)):
        pid, parent = dice.randrange(300, 320), dice.choice(list(left.values()))
        session = dice.choice([pid, parent.session])
        if pid not in left:
            left[pid] = process(pid, parent.pid, session=session, start=start)
    return left


def test_incremental_updates_equal_a_full_rebuild() -> None:
    dice = random.Random(7)
    markers = {pid: dice.choice(["a", "b", None, None]) for pid in range(300, 320)}
    incremental, full = ProcessGroups(markers.get), FullRebuild(markers.get)
    now = table(process(1), process(100), process(200))
    for start in range(2, 400):
        now = next_table(now, dice, start)
        assert incremental.gather(now, ROOTS) == full.gather(now, ROOTS), f"in table {start}"


def test_an_unchanged_group_is_the_same_object_as_before() -> None:
    groups = ProcessGroups(unmarked)
    now = table(process(1), process(100), process(200), process(201, 200))
    first = groups.gather(now, ROOTS)
    second = groups.gather(now | table(process(201, 200, own=10)), ROOTS)
    assert second[1, 0] is first[1, 0]
    assert (first[2, 0][201].own, second[2, 0][201].own) == (0, 10), "the earlier result must not change"


def test_a_pid_reused_by_another_program_moves_to_it() -> None:
    groups = ProcessGroups(unmarked)
    groups.gather(table(process(100), process(200), process(300, 100)), ROOTS)
    found = groups.gather(table(process(100), process(200), process(300, 200, start=9)), ROOTS)
    assert pids(found) == {(1, 0): {100}, (2, 0): {200, 300}}


def test_a_group_disappears_with_its_root() -> None:
    groups = ProcessGroups(unmarked)
    groups.gather(table(process(100), process(101, 100), process(200)), ROOTS)
    assert pids(groups.gather(table(process(101, 1), process(200)), ROOTS)) == {(2, 0): {200}}


def test_a_new_root_takes_processes_that_had_no_owner() -> None:
    groups = ProcessGroups(unmarked)
    both = table(process(100), process(101, 100), process(200))
    groups.gather(both, {(1, 0): ROOTS[1, 0]})
    assert pids(groups.gather(both, ROOTS)) == {(1, 0): {100, 101}, (2, 0): {200}}
