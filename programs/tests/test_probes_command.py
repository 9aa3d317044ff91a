"""Exec probes and the child processes of their commands."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import psutil
import pytest

from programs.probes import ProbeContext

from .probes_rig import run_probe


async def test_exit_code_0_is_healthy() -> None:
    result = await run_probe("exec", "echo all is well")
    assert (result.ok, result.detail) == (True, "all is well")


@pytest.mark.parametrize(
    ("command", "detail"),
    [
        ("sh -c 'echo oh no; echo why >&2; exit 3'", "exit code 3: oh no\nwhy"),
        ("sh -c 'kill -9 $$'", "killed by signal 9"),
        ("false", "exit code 1"),
    ],
)
async def test_a_failed_command_is_explained(command: str, detail: str) -> None:
    result = await run_probe("exec", command)
    assert (result.ok, result.detail) == (False, detail)


@pytest.mark.parametrize("command", ["no-such-command-anywhere", "/", "/etc/passwd", "'unclosed"])
async def test_a_command_that_cannot_start_is_a_failed_result(command: str) -> None:
    assert not (await run_probe("exec", command)).ok


async def test_a_command_runs_in_the_environment_and_folder_of_its_program(tmp_path: Path) -> None:
    context = ProbeContext(
        environment={"PATH": os.environ["PATH"], "PORT": "8101"}, working_directory=str(tmp_path)
    )
    result = await run_probe("exec", "sh -c 'echo $PORT $HOME $(pwd -P)'", context=context)
    assert result.detail == f"8101 {tmp_path.resolve()}"


async def test_control_characters_are_removed_from_the_output() -> None:
    # PostgreSQL rejects NUL, so the agent could not store the health of the program.
    result = await run_probe("exec", r"printf 'a\000b \033[31mred\033[0m \377'")
    assert result.detail == "ab red \N{REPLACEMENT CHARACTER}"


async def test_only_the_end_of_long_output_is_kept() -> None:
    result = await run_probe(
        "exec", "sh -c 'head -c 1000000 /dev/zero | tr \"\\0\" x; echo end; exit 1'", timeout=20
    )
    assert result.detail.endswith("xxxend")
    assert len(result.detail) < 600


async def gone(pid: int) -> bool:
    """Waits up to six seconds for the process to exit."""
    for _ in range(300):
        if not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
            return True
        await asyncio.sleep(0.02)
    return False


FORKS = "sh -c 'sleep 300 & echo $! > {file}; {then}'"


@pytest.mark.parametrize(("then", "ok"), [("wait", False), ("exit 0", True), ('trap "" TERM; wait', False)])
async def test_children_of_a_command_are_killed(tmp_path: Path, then: str, ok: bool) -> None:
    file = tmp_path / "pid"
    result = await run_probe("exec", FORKS.format(file=file, then=then), timeout=1.0)
    assert result.ok is ok, result.detail
    assert result.seconds < 5
    assert await gone(int(file.read_text()))


async def test_a_cancelled_command_is_killed_with_its_children(tmp_path: Path) -> None:
    file = tmp_path / "pid"
    task = asyncio.create_task(run_probe("exec", FORKS.format(file=file, then="wait"), timeout=60))
    while not file.exists() or not file.read_text():
        await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await gone(int(file.read_text()))


async def test_repeated_probes_leak_no_descriptors_or_zombies() -> None:
    me = psutil.Process()
    await run_probe("exec", "true")
    before = me.num_fds()
    for command in ["true", "false", "sleep 60", "no-such-command"] * 3:
        await run_probe("exec", command, timeout=0.1)
    assert me.num_fds() <= before
    assert not [child for child in me.children() if child.status() == psutil.STATUS_ZOMBIE]
