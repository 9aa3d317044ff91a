"""Starting a real process without an agent: what it is given, and why it cannot be started."""

from __future__ import annotations

import asyncio
import os
import pwd
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import ValidationError

from core import secrets
from core.secrets import SecretUnreadableError
from programs import services
from programs.models import Program
from programs.supervisor import launch, platform
from programs.supervisor.health import make_prober
from programs.supervisor.ports import LaunchError
from programs.tests.actors import define

pytestmark = pytest.mark.usefixtures("launching")


def output_of(command: str, index: int = 0, **fields: Any) -> str:
    """What the process had written when it ended."""
    program = Program(pk=1, name="web", command=command, **fields)
    launched = launch.launch(program, index)
    launched.child.wait()
    return launch.log_file(1, index).live.read_text()


def refusal(command: str, **fields: Any) -> LaunchError:
    with pytest.raises(LaunchError) as refused:
        launch.launch(Program(pk=1, name="web", command=command, **fields), 0)
    return refused.value


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        ("no-such-command-here", "command not found: no-such-command-here"),
        ("/etc/passwd", "/etc/passwd is not executable"),
        ("/no/such/file", "command not found: /no/such/file"),
    ],
)
def test_a_command_that_cannot_be_run_is_named(command: str, reason: str) -> None:
    error = refusal(command)
    assert reason in str(error)
    assert error.is_permanent


def test_a_missing_working_directory_is_named() -> None:
    assert str(refusal("sleep 1", working_directory="/no/such/folder")) == "there is no folder /no/such/folder"


def test_a_program_without_a_working_directory_runs_in_a_private_folder_of_its_own(tmp_path: Path) -> None:
    folder = tmp_path / "programs" / "1"
    assert output_of("pwd") == f"{folder}\n"
    assert folder.stat().st_mode & 0o777 == 0o700


def test_probes_and_stop_commands_run_in_the_programs_own_folder(tmp_path: Path) -> None:
    program, seen = Program(pk=1, name="web", command="true"), tmp_path / "seen"
    asyncio.run(launch.run_stop_command(program, 0, ["sh", "-c", f"pwd > {seen}"], os.getpid()))
    assert seen.read_text() == f"{tmp_path}/programs/1\n"
    assert launch.probe_arguments(program, 0)["working_directory"] == f"{tmp_path}/programs/1"


def test_a_program_of_another_user_runs_in_that_users_home() -> None:
    if os.geteuid() == 0:
        assert output_of("pwd", user="games") in ("/usr/games\n", f"{pwd.getpwnam('games').pw_dir}\n")


def test_removing_a_program_keeps_the_files_in_its_folder() -> None:
    output_of("true")
    folder = launch.own_folder(1)
    (folder / "world.dat").write_text("x")
    launch.remove_files(1)
    assert (folder / "world.dat").exists()
    (folder / "world.dat").unlink()
    launch.remove_files(1)
    assert not folder.exists()


def test_a_missing_user_is_named() -> None:
    assert "there is no user nobody-of-that-name" in str(refusal("sleep 1", user="nobody-of-that-name"))


def test_a_script_without_a_first_line_is_explained(tmp_path: Path) -> None:
    script = tmp_path / "script"
    script.write_text("echo no first line\n")
    script.chmod(0o755)
    assert "#!" in str(refusal(str(script)))


def test_an_environment_that_is_too_large_is_a_permanent_failure() -> None:
    error = refusal("sleep 1", environment=[{"name": "A", "value": "x" * 200_000}])
    assert ("Argument list too long" in str(error), error.is_permanent) == (True, True)


def test_a_file_that_is_being_written_is_a_transient_failure(tmp_path: Path) -> None:
    path = tmp_path / "busy-sleep"
    shutil.copy(str(shutil.which("sleep")), path)
    with path.open("ab"):
        error = refusal(f"{path} 1")
    assert ("Text file busy" in str(error), error.is_permanent) == (True, False)


def test_placeholders_are_filled_in_command_and_environment() -> None:
    environment = [{"name": "N", "value": "i{instance}"}]
    assert output_of("sh -c 'echo {instance+8100} $N'", index=1, environment=environment) == "8101 i1\n"


@pytest.mark.django_db
def test_a_secret_that_looks_like_a_placeholder_is_passed_on_unchanged() -> None:
    secret = {"name": "TOKEN", "secret": True, "encrypted": secrets.encrypt("{instance+x} {instance}")}
    assert output_of("sh -c 'echo \"$TOKEN\"'", environment=[secret]) == "{instance+x} {instance}\n"


@pytest.mark.django_db
def test_the_environment_is_a_small_base_and_what_was_defined() -> None:
    secret = [{"name": "TOKEN", "value": "s3cret", "secret": True}]
    program = define("env", "env", environment=secret, autostart=False)
    launch.launch(program, 0).child.wait()
    lines = dict(line.split("=", 1) for line in launch.log_file(program.pk, 0).live.read_text().splitlines())
    assert lines["TOKEN"] == "s3cret"
    assert launch.parse_marker(lines["PROGRAM_MONITOR"]) == (program.pk, 0)
    assert set(lines) <= {"PATH", "HOME", "USER", "LANG", "TZ", "SHELL", "TOKEN", "PROGRAM_MONITOR"}
    assert "s3cret" not in str(Program.objects.get(pk=program.pk).environment)


@pytest.mark.skipif(os.geteuid() != 0 and "CI" not in os.environ, reason="only root can switch the user")
def test_umask_priority_limits_user_and_directory_are_applied() -> None:
    # The priority is set from outside, right after the start.
    command = "sh -c 'until [ $(nice) = 5 ]; do sleep 0.05; done; umask; nice; ulimit -n; id -un; pwd'"
    fields: dict[str, Any] = {
        "umask": "027",
        "nice": 5,
        "max_open_files": 77,
        "user": "nobody",
        "working_directory": "/usr",
    }
    assert output_of(command, **fields).split() == ["0027", "5", "77", "nobody", "/usr"]


@pytest.mark.parametrize("obstacle", ["a file", "a full disk"])
def test_a_log_that_cannot_be_opened_does_not_keep_a_program_from_starting(
    obstacle: str, settings: Any, full_folder: Path, tmp_path: Path
) -> None:
    settings.LOG_DIR = full_folder if obstacle == "a full disk" else tmp_path / "file"
    (tmp_path / "file").write_text("in the way")
    launched = launch.launch(Program(pk=1, name="web", command="sleep 1000"), 0)
    identity = platform.identity(launched.child.pid)
    assert identity is not None and platform.is_running(identity)
    platform.kill_group(identity.pid)
    launched.child.wait()


def test_markers_that_this_installation_did_not_make_are_ignored() -> None:
    ours = launch.installation()
    assert launch.parse_marker(launch.new_marker(7, 2)) == (7, 2)
    for marker in (
        "",
        ours,
        f"{ours}/x/0/abc",
        f"{ours}/1/{2**40}/a",
        f"{ours}/{10**30}/0/a",
        "\ufffd/1",
        "0/1/0/a",
    ):
        assert launch.parse_marker(marker) is None, marker


def test_a_program_whose_secret_cannot_be_read_cannot_be_probed() -> None:
    environment = [{"name": "TOKEN", "secret": True, "encrypted": "not what was written"}]
    probes = [{"kind": "exec", "target": "true"}]
    program = Program(pk=1, name="web", command="run", environment=environment, probes=probes)
    with pytest.raises(SecretUnreadableError):
        make_prober(program, 0, 0, lambda health, detail, restart: None)


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("stop_ladder", [{"step": "command:say {instances}", "seconds": 1}]),
        ("stop_ladder", [{"step": "http:http://127.0.0.1:{instance+x}/", "seconds": 1}]),
        ("probes", [{"kind": "http", "target": "http://127.0.0.1/{instance +1}"}]),
        ("probes", [{"kind": "tcp", "target": "127.0.0.1:{instance+}"}]),
        ("probes", [{"kind": "exec", "target": "check {instance"}]),
    ],
)
def test_a_misspelt_placeholder_is_refused_when_it_is_saved(field: str, value: list[dict[str, Any]]) -> None:
    with pytest.raises(ValidationError) as refused:
        services.save_definition({"name": "web", "command": "sleep 60", field: value}, actor="tester")
    assert "isn't a placeholder" in refused.value.message_dict[field][0]


async def test_a_stop_command_gets_the_pid_and_is_killed_when_it_is_cancelled(tmp_path: Path) -> None:
    program = Program(pk=1, name="web", command="run")
    await launch.run_stop_command(program, 0, ["sh", "-c", f"echo $PROGRAM_PID > {tmp_path}/pid"], 4711)
    assert (tmp_path / "pid").read_text() == "4711\n"
    note = tmp_path / "note"
    hanging = ["sh", "-c", f"echo $$ > {note}; sleep 1000"]
    task = asyncio.create_task(launch.run_stop_command(program, 0, hanging, 4711))
    pid = int(await until(lambda: note.exists() and note.read_text()))
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert platform.identity(pid) is None


async def until(look: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + 20
    while not (found := look()):
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)
    return found
