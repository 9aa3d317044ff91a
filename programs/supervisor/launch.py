"""Starts the process of a definition: arguments, environment, working directory, user, log file and console.

Checks what can be checked before the start, so that a failure is explained in a sentence.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import re
import secrets
import shlex
import shutil
import stat
import subprocess
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from django.conf import settings

from core.keyfile import key_file
from core.secrets import SecretUnreadableError
from programs.definition.environment import environment_of
from programs.logs.paths import LogFile, open_for_program
from programs.logs.reader import Reader
from programs.models import Program
from programs.placeholders import fill
from programs.probes.command import reap

from . import platform
from .mount_check import check_answers
from .ports import Launched, LaunchError

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
SHELL = "/bin/sh"
INHERITED_VARIABLES = ("LANG", "TZ")
TRANSIENT_ERRORS = (
    errno.EAGAIN,
    errno.ENOMEM,
    errno.EMFILE,
    errno.ENFILE,
    errno.ETXTBSY,
    errno.EIO,
    errno.EHOSTDOWN,
    errno.ENOSPC,
    errno.EDQUOT,
)
SET_FILE_LIMIT = 'ulimit -n "$0" && exec "$@"'
POLL_SECONDS = 0.02


@lru_cache(maxsize=1)
def installation() -> str:
    """The id of this data folder, in the marker of all its programs: other monitors may run on the machine."""
    return key_file(Path(settings.DATA_DIR) / "installation", lambda: secrets.token_hex(8))


def parse_marker(marker: str) -> tuple[int, int] | None:
    """(program id, instance) of a marker that this installation made; None for any other text."""
    found = re.fullmatch(r"([0-9a-f]+)/(\d{1,18})/(\d{1,4})/[0-9a-z]+", marker)
    return (int(found[2]), int(found[3])) if found and found[1] == installation() else None


def new_marker(program_id: int, index: int) -> str:
    """The value of PROGRAM_MONITOR in the process's environment: installation/program/instance/run."""
    return f"{installation()}/{program_id}/{index}/{secrets.token_hex(6)}"


def log_file(program_id: int, index: int) -> LogFile:
    return LogFile(Path(settings.LOG_DIR) / str(program_id), index)


def log_end(program_id: int, index: int) -> int | None:
    """A logical offset (see `programs.logs`); None when the log cannot be read."""
    try:
        with Reader(log_file(program_id, index)) as reader:
            return reader.end
    except OSError:
        return None


def launch(program: Program, index: int) -> Launched:
    """Starts the process without waiting for anything. Raises LaunchError."""
    marker = new_marker(program.pk, index)
    account = _account(program.user)
    try:
        directory = _directory(program, account)
        environment = _environment(program, index, account, marker)
        executable, argv = _argv(program, index, environment["PATH"], directory)
        child = _spawn(program, index, executable, argv, environment, directory, account)
    except OSError as error:
        raise _launch_error(error, program.command) from error
    except (ValueError, SecretUnreadableError) as error:  # stored before a validation that now refuses it
        raise LaunchError(str(error)) from error
    platform.adjust_started(child.pid, nice=program.nice, keep_file_limit=program.max_open_files is not None)
    return Launched(child, marker)


def _spawn(
    program: Program,
    index: int,
    executable: str,
    argv: list[str],
    environment: dict[str, str],
    directory: str,
    account: Any,
) -> subprocess.Popen[bytes]:
    output = _open_log(program, index)
    console = open_console(program.pk, index, account) if program.stdin == Program.Stdin.CONSOLE else None
    try:
        # close_fds is off because all our descriptors are close-on-exec, and closing a thousand of them one by
        # one would cost more than the start.
        return subprocess.Popen(
            argv,
            executable=executable,
            stdin=subprocess.DEVNULL if console is None else console,
            stdout=output,
            stderr=output,
            env=environment,
            cwd=directory,
            start_new_session=True,
            close_fds=False,
            umask=int(program.umask, 8) if program.umask else -1,
            **_user_arguments(account),
        )
    finally:
        for descriptor in (output, console):
            if descriptor is not None:
                os.close(descriptor)


async def run_stop_command(program: Program, index: int, argv: Sequence[str], pid: int) -> None:
    """Runs a command with the program's environment and directory, and its pid in PROGRAM_PID. Raises OSError.

    Cancelling it kills the command with everything in its session.
    """
    command = _start_stop_command(program, index, argv, pid)
    try:
        while command.poll() is None:  # noqa: ASYNC110  (polled for at most the step's seconds)
            await asyncio.sleep(POLL_SECONDS)
    finally:
        if command.returncode is None:
            platform.kill_group(command.pid)
            await reap(command)


def _start_stop_command(program: Program, index: int, argv: Sequence[str], pid: int) -> subprocess.Popen[bytes]:
    account = _account(program.user)
    environment = _environment(program, index, account, marker="") | {"PROGRAM_PID": str(pid)}
    check_answers(argv[0], *environment["PATH"].split(os.pathsep))
    return subprocess.Popen(
        argv,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=environment,
        cwd=_directory(program, account),
        start_new_session=True,
        close_fds=False,
        **_user_arguments(account),
    )


def probe_arguments(program: Program, index: int) -> dict[str, Any]:
    """Environment, directory and user of exec probes, as arguments of ProbeContext."""
    account = _account(program.user)
    environment = _environment(program, index, account, marker="")
    del environment[platform.MARKER]  # a probe is no part of the program's tree
    return {
        "environment": environment,
        "working_directory": _directory(program, account),
        "spawn": _user_arguments(account),
    }


def _user_arguments(account: Any) -> dict[str, Any]:
    """Arguments of Popen that switch the user; empty for the agent's own."""
    if account is None or account.pw_uid == os.geteuid():
        return {}
    groups = os.getgrouplist(account.pw_name, account.pw_gid)
    return {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": groups}


def _open_log(program: Program, index: int) -> int:
    try:
        return open_for_program(log_file(program.pk, index))
    except OSError:  # a full disk must not keep the program from starting
        return os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)


def _account(user: str) -> Any:
    if os.name != "posix":
        return None
    import pwd

    try:
        return pwd.getpwnam(user) if user else pwd.getpwuid(os.geteuid())
    except KeyError:
        if user:
            raise LaunchError(f"there is no user {user} on this machine") from None
        return None


def _environment(program: Program, index: int, account: Any, marker: str) -> dict[str, str]:
    environment = {"PATH": os.environ.get("PATH", DEFAULT_PATH)}
    environment |= {name: os.environ[name] for name in INHERITED_VARIABLES if name in os.environ}
    if account is not None:
        environment |= {"HOME": account.pw_dir, "USER": account.pw_name, "SHELL": account.pw_shell or "/bin/sh"}
    environment |= environment_of(program, index)
    return environment | {platform.MARKER: marker}


def own_folder(program_id: int) -> Path:
    return Path(settings.DATA_DIR).resolve() / "programs" / str(program_id)


def _directory(program: Program, account: Any) -> str:
    """Where the program, its exec probes and its stop commands run. Raises LaunchError."""
    directory = program.working_directory or _default_directory(program.pk, account)
    check_answers(directory)
    if not os.path.isdir(directory):  # noqa: PTH112  (a plain string all the way; this is the restart path)
        raise LaunchError(f"there is no folder {directory}")
    return directory


def _default_directory(program_id: int, account: Any) -> str:
    """A folder of the program's own, or the home of the user that it switches to. Creates the folder.

    Never the data folder, which holds the keys and the database: a file server would publish them.
    """
    is_other_user = account is not None and account.pw_uid != os.geteuid()
    if is_other_user and account.pw_dir != "/" and os.path.isdir(account.pw_dir):  # noqa: PTH112
        return str(account.pw_dir)
    folder = own_folder(program_id)
    if not folder.is_dir():
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if is_other_user:
            os.chown(folder, account.pw_uid, account.pw_gid)
    return str(folder)


def _argv(program: Program, index: int, path: str, directory: str) -> tuple[str, list[str]]:
    """The file to run, and its arguments with the command's name as it was typed in front."""
    command = fill(program.command, index)
    argv = [SHELL, "-c", command] if program.shell else shlex.split(command)
    executable = _find_executable(argv[0], path, directory)
    if program.max_open_files is not None:
        return SHELL, [SHELL, "-c", SET_FILE_LIMIT, str(program.max_open_files), executable, *argv[1:]]
    return executable, argv


def shown_executable(program: Program) -> str:
    # For messages, so it must not fail on a command that cannot be split.
    return SHELL if program.shell else program.command.partition(" ")[0].strip("'\"")


def _find_executable(name: str, path: str, directory: str) -> str:
    if os.sep not in name:
        check_answers(*path.split(os.pathsep))
        found = shutil.which(name, path=path)
        if found is None:
            raise LaunchError(f"command not found: {name} (in no folder of PATH)")
        return found
    full = os.path.join(directory, name)  # noqa: PTH118  (an absolute name stays as it is)
    check_answers(full)
    try:
        mode = os.stat(full).st_mode  # noqa: PTH116
    except OSError as error:
        raise LaunchError(f"command not found: {full} ({error.strerror})") from error
    if not stat.S_ISREG(mode) or not os.access(full, os.X_OK):
        raise LaunchError(f"{full} is not executable")
    return full


def _launch_error(error: OSError, command: str) -> LaunchError:
    if isinstance(error, FileNotFoundError | PermissionError | NotADirectoryError):
        return LaunchError(f"cannot run {error.filename or command}: {error.strerror}")
    if error.strerror == "Exec format error":
        return LaunchError(
            f"{command} is no program of this system (a script needs a first line such as #!/bin/sh)"
        )
    return LaunchError(
        f"cannot start {command}: {error.strerror}", is_permanent=error.errno not in TRANSIENT_ERRORS
    )


# --- Console --------------------------------------------------------------------------------------------


def console_path(program_id: int, index: int) -> Path:
    return Path(settings.RUN_DIR) / "console" / f"{program_id}-{index}"


def open_console(program_id: int, index: int, account: Any) -> int:
    """A FIFO as the program's stdin. Opened read-write, so that the program itself keeps it from reaching EOF."""
    path = console_path(program_id, index)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    os.mkfifo(path, 0o600)
    if account is not None and account.pw_uid != os.geteuid():
        os.chown(path, account.pw_uid, account.pw_gid)
    return os.open(path, os.O_RDWR | os.O_CLOEXEC)


def write_console(program_id: int, index: int, text: str) -> None:
    """Raises OSError when no process has the console open or the program does not read fast enough."""
    descriptor = os.open(console_path(program_id, index), os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        os.write(descriptor, text.encode())
    finally:
        os.close(descriptor)


def remove_console(program_id: int, index: int) -> None:
    console_path(program_id, index).unlink(missing_ok=True)


def remove_files(program_id: int) -> None:
    """Removes the logs, and the program's own folder unless it holds files."""
    shutil.rmtree(Path(settings.LOG_DIR) / str(program_id), ignore_errors=True)
    with contextlib.suppress(OSError):
        own_folder(program_id).rmdir()
