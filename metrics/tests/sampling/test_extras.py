"""Open files and bytes, which cost more to read than all the rest."""

from __future__ import annotations

from metrics.sampling import Root, Sample, Sampler, TreeUsage
from metrics.sampling.base import Extras
from metrics.sampling.sampler import EXTRAS_SKIPPED, Moment

KEY = (1, 0)
ROOT = Root(100, 1, "")


class Machine:
    """One process on paper, and a clock."""

    def __init__(self) -> None:
        self.process = Sample(100, 1, 100, 1, 0, 0, 1 << 20, 1)
        self.extra = Extras(7, 1000, 0)
        self.looks = 0
        self.seconds = 1000.0
        self.sampler = Sampler(self, marker_of=lambda pid: None, clock=lambda: Moment(self.seconds, self.seconds))

    def read(self) -> dict[int, Sample]:
        return {100: self.process}

    def extras(self, pid: int) -> Extras:
        self.looks += 1
        return self.extra

    def close(self) -> None: ...

    def turn(self) -> TreeUsage:
        self.seconds += 10
        return self.sampler.sample({KEY: ROOT}, with_extras=lambda key: True)[KEY]


def test_of_a_sleeper_they_are_taken_to_be_as_before_for_a_while() -> None:
    machine = Machine()
    machine.turn()
    found = [machine.turn() for _ in range(EXTRAS_SKIPPED)]
    assert machine.looks == 1
    assert [(usage.open_files, usage.read_bytes, usage.write_bytes) for usage in found] == [(7, 0, 0)] * len(found)


def test_what_a_sleeper_did_unseen_is_counted_at_the_next_real_look() -> None:
    machine = Machine()
    machine.turn()
    machine.extra = Extras(8, 1500, 30)
    found = [machine.turn() for _ in range(EXTRAS_SKIPPED + 1)][-1]
    assert (found.open_files, found.read_bytes, found.write_bytes) == (8, 500, 30)


def test_who_did_anything_is_looked_at_at_once() -> None:
    machine = Machine()
    machine.turn()
    machine.process, machine.extra = machine.process._replace(own=10), Extras(9, 1001, 2)
    found = machine.turn()
    assert (found.open_files, found.read_bytes, found.write_bytes) == (9, 1, 2)


def test_what_may_not_be_read_stays_unknown_while_it_sleeps() -> None:
    machine = Machine()
    machine.extra = Extras(None, None, None)
    machine.turn()
    found = machine.turn()
    assert (found.open_files, found.read_bytes, found.write_bytes) == (None, None, None)
