"""Who belongs to which program, from one table of processes to the next."""

from __future__ import annotations

import random

from metrics.sampling import Root, Sample
from metrics.sampling.base import Key
from metrics.sampling.process_groups import Family, ProcessGroups

ROOTS = {(1, 0): Root(100, 1, "a"), (2, 0): Root(200, 1, "b")}
Table = dict[int, Sample]


def process(pid: int, parent: int = 1, *, session: int = 0, start: int = 1, own: int = 0) -> Sample:
    return Sample(pid, parent, session or pid, start, own, 0, 1 << 20, 1)


def table(*processes: Sample) -> Table:
    return {sample.pid: sample for sample in processes}


def unmarked(pid: int) -> None:
    return None


def members(families: dict[Key, Family]) -> dict[Key, set[int]]:
    return {key: set(family) for key, family in families.items()}


class Thorough(ProcessGroups):
    """Looks at everybody in every table."""

    def _carried_on(self, before: object, ended: object) -> dict[Key, Family]:
        return self._looked_at_anew(self._roots)


def next_table(now: Table, dice: random.Random, start: int) -> Table:
    """Some end, some work, some are born (perhaps with the pid of one just gone), orphans move to 1."""
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


def test_carrying_on_comes_to_the_same_as_looking_at_everybody_each_time() -> None:
    dice = random.Random(7)
    marks = {pid: dice.choice(["a", "b", None, None]) for pid in range(300, 320)}
    quick, thorough = ProcessGroups(marks.get), Thorough(marks.get)
    now = table(process(1), process(100), process(200))
    for start in range(2, 400):
        now = next_table(now, dice, start)
        assert quick.gather(now, ROOTS) == thorough.gather(now, ROOTS), f"in table {start}"


def test_a_family_in_which_nothing_happened_is_the_same_object_as_before() -> None:
    families = ProcessGroups(unmarked)
    now = table(process(1), process(100), process(200), process(201, 200))
    first = families.gather(now, ROOTS)
    second = families.gather(now | table(process(201, 200, own=10)), ROOTS)
    assert second[1, 0] is first[1, 0]
    assert (first[2, 0][201].own, second[2, 0][201].own) == (0, 10), "what was counted from must stay as it was"


def test_a_pid_that_went_from_one_program_to_another_is_the_others() -> None:
    families = ProcessGroups(unmarked)
    families.gather(table(process(100), process(200), process(300, 100)), ROOTS)
    found = families.gather(table(process(100), process(200), process(300, 200, start=9)), ROOTS)
    assert members(found) == {(1, 0): {100}, (2, 0): {200, 300}}


def test_a_root_that_ended_takes_its_family_out_of_the_count() -> None:
    families = ProcessGroups(unmarked)
    families.gather(table(process(100), process(101, 100), process(200)), ROOTS)
    assert members(families.gather(table(process(101, 1), process(200)), ROOTS)) == {(2, 0): {200}}


def test_a_program_that_is_new_is_found_among_those_known_as_nobodys() -> None:
    families = ProcessGroups(unmarked)
    both = table(process(100), process(101, 100), process(200))
    families.gather(both, {(1, 0): ROOTS[1, 0]})
    assert members(families.gather(both, ROOTS)) == {(1, 0): {100, 101}, (2, 0): {200}}
