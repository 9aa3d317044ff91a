"""Out-of-memory kills, recognised by a counter of the kernel alone."""

from __future__ import annotations

from programs.supervisor.oom import EXPIRY_SECONDS, OomDetector
from programs.supervisor.platform import Exit

KILLED = Exit(signal="SIGKILL")


class Machine:
    def __init__(self) -> None:
        self.kills = 7  # of long ago
        self.now = 100.0
        self.detector = OomDetector(lambda: self.kills, lambda: self.now)


def test_each_of_several_victims_is_recognised_and_no_further_exit() -> None:
    machine = Machine()
    machine.kills += 3
    assert [machine.detector.is_oom_kill(KILLED) for _ in range(4)] == [True, True, True, False]


def test_victims_that_exit_one_after_the_other_are_recognised_too() -> None:
    machine = Machine()
    machine.kills += 2
    assert machine.detector.is_oom_kill(KILLED)
    machine.now += 2
    machine.detector.poll()
    assert machine.detector.is_oom_kill(KILLED)


def test_an_exit_of_another_kind_is_no_oom_kill_and_uses_none_up() -> None:
    machine = Machine()
    machine.kills += 1
    assert not machine.detector.is_oom_kill(Exit(code=1))
    assert machine.detector.is_oom_kill(KILLED)


def test_a_kill_of_some_time_ago_had_another_victim() -> None:
    machine = Machine()
    machine.kills += 1
    machine.detector.poll()
    machine.now += EXPIRY_SECONDS + 1
    assert not machine.detector.is_oom_kill(KILLED)


def test_a_sigkill_without_a_kill_by_the_kernel_is_no_oom_kill() -> None:
    assert not Machine().detector.is_oom_kill(KILLED)


def test_a_counter_that_was_reset_is_no_kill() -> None:
    machine = Machine()
    machine.kills = 0
    assert not machine.detector.is_oom_kill(KILLED)
    machine.kills = 1
    assert machine.detector.is_oom_kill(KILLED)
