"""Which processes belong to a run, from a process table written by hand."""

from __future__ import annotations

import os

from programs.supervisor.platform import Identity, ProcessInfo
from programs.supervisor.process_tree import Snapshot

BOOT = "this boot"
AGENT = os.getpid()
SHELL, MAIN = AGENT + 10_000_001, AGENT + 10_000_002
CHILD, DAEMON, STRANGER = MAIN + 1, MAIN + 2, MAIN + 3


def info(pid: int, ppid: int = 1, session: int = 0, *, is_zombie: bool = False) -> ProcessInfo:
    return ProcessInfo(pid, ppid, pid, session or pid, 100, is_zombie)


def snapshot(*processes: ProcessInfo, **markers: int) -> Snapshot:
    table = {process.pid: process for process in processes}
    return Snapshot(table, {pid: marker for marker, pid in markers.items()}, BOOT)


def pids(found: set[Identity]) -> set[int]:
    return {identity.pid for identity in found}


def identity(pid: int, kernel_start: int = 100, boot_id: str = BOOT) -> Identity:
    return Identity(pid, kernel_start, boot_id)


def test_descendants_session_and_marker_all_count() -> None:
    grandchild = info(CHILD + 10, CHILD)
    in_session = info(CHILD + 11, 1, session=MAIN)
    found = snapshot(
        info(MAIN), info(CHILD, MAIN), grandchild, in_session, info(DAEMON), info(STRANGER), run=DAEMON
    )
    assert pids(found.members(identity(MAIN), "run")) == {MAIN, CHILD, grandchild.pid, in_session.pid, DAEMON}


def test_the_session_of_a_main_process_that_exited_still_counts() -> None:
    found = snapshot(info(CHILD, 1, session=MAIN), info(STRANGER))
    assert pids(found.members(identity(MAIN), "")) == {CHILD}


def test_without_a_main_process_only_the_marker_counts() -> None:
    """A daemon may have the number of a dead program as its session."""
    found = snapshot(info(DAEMON, 1, session=MAIN), info(CHILD), run=CHILD)
    assert pids(found.members(None, "run")) == {CHILD}


def test_a_reused_pid_is_no_member() -> None:
    found = snapshot(info(MAIN), info(CHILD, MAIN))
    assert found.members(identity(MAIN, kernel_start=99), "") == set()
    assert found.members(identity(MAIN, boot_id="another boot"), "") == set()
    assert not found.is_running(identity(MAIN, kernel_start=99))


def test_an_agent_started_from_a_program_is_not_part_of_it() -> None:
    """As when somebody starts the monitor from a shell that is a program of it."""
    agent, its_program = info(AGENT, SHELL), info(MAIN, AGENT)
    found = Snapshot(
        {p.pid: p for p in (info(SHELL), agent, its_program)}, {SHELL: "shell", AGENT: "shell", MAIN: "web"}, BOOT
    )
    assert pids(found.members(identity(SHELL), "shell")) == set()
    assert pids(found.members(identity(MAIN), "web")) == {MAIN}


def test_a_run_that_another_run_started_is_not_part_of_it() -> None:
    found = snapshot(info(MAIN), info(CHILD, MAIN), first=MAIN, second=CHILD)
    assert pids(found.members(identity(MAIN), "first")) == {MAIN}


def test_zombies_are_no_members_but_their_children_are() -> None:
    found = snapshot(info(MAIN, is_zombie=True), info(CHILD, MAIN))
    assert pids(found.members(identity(MAIN), "")) == {CHILD}
    assert not found.is_running(identity(MAIN))
