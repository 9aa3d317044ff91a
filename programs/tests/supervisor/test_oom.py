"""Ends for want of memory, told by nothing but a counter of the kernel."""

from __future__ import annotations

from programs.supervisor.oom import EXPIRY_SECONDS, OomDetector
from programs.supervisor.platform import Exit

KILLED = Exit(signal="SIGKILL")


class Machine:
    def __init__(self) -> None:
        self.kills = 7  # of long ago
        self.now = 100.0
        self.detector = OomDetector(lambda: self.kills, lambda: self.now)


def test_each_of_several_victims_is_told_and_nobody_more() -> None:
    machine = Machine()
    machine.kills += 3
    assert [machine.detector.is_oom_kill(KILLED) for _ in range(4)] == [True, True, True, False]


def test_victims_that_end_one_after_the_other_are_told_too() -> None:
    machine = Machine()
    machine.kills += 2
    assert machine.detector.is_oom_kill(KILLED)
    machine.now += 2
    machine.detector.poll()
    assert machine.detector.is_oom_kill(KILLED)


def test_an_end_of_another_kind_is_not_for_want_of_memory_and_takes_no_kill_away() -> None:
    machine = Machine()
    machine.kills += 1
    assert not machine.detector.is_oom_kill(Exit(code=1))
    assert machine.detector.is_oom_kill(KILLED)


def test_a_kill_of_some_time_ago_was_somebody_elses() -> None:
    machine = Machine()
    machine.kills += 1
    machine.detector.poll()
    machine.now += EXPIRY_SECONDS + 1
    assert not machine.detector.is_oom_kill(KILLED)


def test_a_sigkill_without_a_kill_of_the_kernels_is_somebodys() -> None:
    assert not Machine().detector.is_oom_kill(KILLED)


def test_a_counter_that_began_anew_is_no_kill() -> None:
    machine = Machine()
    machine.kills = 0
    assert not machine.detector.is_oom_kill(KILLED)
    machine.kills = 1
    assert machine.detector.is_oom_kill(KILLED)
