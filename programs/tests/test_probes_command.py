"""Commands as probes, and their children."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import psutil
import pytest

from programs.probes import ProbeContext

from .probes_rig import ask


async def test_a_command_that_ends_with_0_is_well() -> None:
    outcome = await ask("exec", "echo all is well")
    assert (outcome.ok, outcome.detail) == (True, "all is well")


@pytest.mark.parametrize(
    ("command", "detail"),
    [
        ("sh -c 'echo oh no; echo why >&2; exit 3'", "exit code 3: oh no\nwhy"),
        ("sh -c 'kill -9 $$'", "killed by signal 9"),
        ("false", "exit code 1"),
    ],
)
async def test_a_command_that_fails_says_how(command: str, detail: str) -> None:
    outcome = await ask("exec", command)
    assert (outcome.ok, outcome.detail) == (False, detail)


@pytest.mark.parametrize("command", ["no-such-command-anywhere", "/", "/etc/passwd", "'unclosed"])
async def test_a_command_that_cannot_run_is_a_failure_not_an_error(command: str) -> None:
    assert not (await ask("exec", command)).ok


async def test_a_command_runs_with_the_environment_and_folder_of_its_program(tmp_path: Path) -> None:
    context = ProbeContext(
        environment={"PATH": os.environ["PATH"], "PORT": "8101"}, working_directory=str(tmp_path)
    )
    outcome = await ask("exec", "sh -c 'echo $PORT $HOME $(pwd -P)'", context=context)
    assert outcome.detail == f"8101 {tmp_path.resolve()}"


async def test_what_no_database_and_no_terminal_may_be_given_is_left_out() -> None:
    """PostgreSQL takes no NUL: the agent would set aside what it has to tell of the program's health."""
    outcome = await ask("exec", r"printf 'a\000b \033[31mred\033[0m \377'")
    assert outcome.detail == "ab red \N{REPLACEMENT CHARACTER}"


async def test_only_the_end_of_much_output_is_kept() -> None:
    outcome = await ask("exec", "sh -c 'head -c 1000000 /dev/zero | tr \"\\0\" x; echo end; exit 1'", timeout=20)
    assert outcome.detail.endswith("xxxend")
    assert len(outcome.detail) < 600


async def gone(pid: int) -> bool:
    """Whether the process has ended, within a few seconds."""
    for _ in range(300):
        if not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
            return True
        await asyncio.sleep(0.02)
    return False


FORKS = "sh -c 'sleep 300 & echo $! > {file}; {then}'"


@pytest.mark.parametrize(("then", "ok"), [("wait", False), ("exit 0", True), ('trap "" TERM; wait', False)])
async def test_a_command_that_forks_leaves_nobody_behind(tmp_path: Path, then: str, ok: bool) -> None:
    file = tmp_path / "pid"
    outcome = await ask("exec", FORKS.format(file=file, then=then), timeout=1.0)
    assert outcome.ok is ok, outcome.detail
    assert outcome.seconds < 5
    assert await gone(int(file.read_text()))


async def test_a_command_that_is_called_off_is_killed_with_its_children(tmp_path: Path) -> None:
    file = tmp_path / "pid"
    task = asyncio.create_task(ask("exec", FORKS.format(file=file, then="wait"), timeout=60))
    while not file.exists() or not file.read_text():
        await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await gone(int(file.read_text()))


async def test_probing_again_and_again_leaves_no_descriptor_and_no_zombie() -> None:
    me = psutil.Process()
    await ask("exec", "true")
    before = me.num_fds()
    for command in ["true", "false", "sleep 60", "no-such-command"] * 3:
        await ask("exec", command, timeout=0.1)
    assert me.num_fds() <= before
    assert not [child for child in me.children() if child.status() == psutil.STATUS_ZOMBIE]
