"""From a definition to a running process: its words, environment, folder, account, log file and console.

Everything that can be known before the start is checked here, so that the reason for a failure is a sentence.
"""

from __future__ import annotations

import errno
import os
import re
import secrets
import shlex
import shutil
import stat
import subprocess
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from django.conf import settings

from core.keyfile import key_file
from core.secrets import SecretUnreadableError
from programs import definition
from programs.logs.paths import LogFile, open_for_program
from programs.logs.reader import Reader
from programs.models import Program
from programs.placeholders import fill

from . import platform
from .mount_check import check_answers

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
SHELL = "/bin/sh"
HANDED_ON = ("LANG", "TZ")
PASSING = (errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE, errno.ETXTBSY, errno.EIO, errno.EHOSTDOWN)
NUMBER_OF_FILES = 'ulimit -n "$0" && exec "$@"'


class LaunchError(Exception):
    """The program cannot be started; the text says why. `is_permanent`: trying again would not help."""

    def __init__(self, message: str, *, is_permanent: bool = True) -> None:
        super().__init__(message)
        self.is_permanent = is_permanent


@dataclass(frozen=True)
class Launched:
    """A process that was just started, with the mark its whole tree carries."""

    popen: subprocess.Popen[bytes]
    marker: str


@lru_cache(maxsize=1)
def installation() -> str:
    """Tells the programs of this data folder from those of another monitor on the same machine."""
    return key_file(Path(settings.DATA_DIR) / "installation", lambda: secrets.token_hex(8))


def parse_marker(marker: str) -> tuple[int, int] | None:
    """(program, instance) of a mark that this installation gave; None for any other text."""
    found = re.fullmatch(r"([0-9a-f]+)/(\d{1,18})/(\d{1,4})/[0-9a-z]+", marker)
    return (int(found[2]), int(found[3])) if found and found[1] == installation() else None


def new_marker(program_id: int, index: int) -> str:
    """The value of PROGRAM_MONITOR in a process's environment: installation, program, instance, run."""
    return f"{installation()}/{program_id}/{index}/{secrets.token_hex(6)}"


def log_file(program_id: int, index: int) -> LogFile:
    return LogFile(Path(settings.LOG_DIR) / str(program_id), index)


def log_end(program_id: int, index: int) -> int | None:
    """How much the process has written by now (a logical offset, see `programs.logs`); None: it cannot be read."""
    try:
        with Reader(log_file(program_id, index)) as reader:
            return reader.end
    except OSError:
        return None


def launch(program: Program, index: int) -> Launched:
    """Starts the process and returns at once. Raises LaunchError."""
    marker = new_marker(program.pk, index)
    account = _account(program.user)
    try:
        directory = _directory(program)
        environment = _environment(program, index, account, marker)
        executable, words = _words(program, index, environment["PATH"], directory)
        popen = _spawn(program, index, executable, words, environment, directory, account)
    except OSError as error:
        raise _explained(error, program.command) from error
    except (ValueError, SecretUnreadableError) as error:  # what no validation of today would let in
        raise LaunchError(str(error)) from error
    platform.adjust_started(popen.pid, nice=program.nice, keep_file_limit=program.max_open_files is not None)
    return Launched(popen, marker)


def _spawn(
    program: Program,
    index: int,
    executable: str,
    words: list[str],
    environment: dict[str, str],
    directory: str,
    account: Any,
) -> subprocess.Popen[bytes]:
    output = _open_log(program, index)
    console = open_console(program.pk, index, account) if program.stdin == Program.Stdin.CONSOLE else None
    try:
        # close_fds is off because every descriptor of ours closes itself on exec, and walking a thousand of
        # them would cost more than the start.
        return subprocess.Popen(
            words,
            executable=executable,
            stdin=subprocess.DEVNULL if console is None else console,
            stdout=output,
            stderr=output,
            env=environment,
            cwd=directory,
            start_new_session=True,
            close_fds=False,
            umask=int(program.umask, 8) if program.umask else -1,
            **_switch(account),
        )
    finally:
        for descriptor in (output, console):
            if descriptor is not None:
                os.close(descriptor)


def launch_helper(program: Program, index: int, words: list[str], pid: int) -> subprocess.Popen[bytes]:
    """A stop command: the program's own environment and folder, and its pid in PROGRAM_PID. Raises OSError."""
    account = _account(program.user)
    environment = _environment(program, index, account, marker="") | {"PROGRAM_PID": str(pid)}
    check_answers(words[0], *environment["PATH"].split(os.pathsep))
    return subprocess.Popen(
        words,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=environment,
        cwd=_directory(program),
        start_new_session=True,
        close_fds=False,
        **_switch(account),
    )


def probe_surroundings(program: Program, index: int) -> dict[str, Any]:
    """Environment, folder and account of exec probes, as arguments of ProbeContext; without the mark."""
    account = _account(program.user)
    environment = _environment(program, index, account, marker="")
    del environment[platform.MARKER]
    return {
        "environment": environment,
        "working_directory": program.working_directory or None,
        "spawn": _switch(account),
    }


def _switch(account: Any) -> dict[str, Any]:
    """What Popen needs to become another user; nothing for the agent's own account."""
    if account is None or account.pw_uid == os.geteuid():
        return {}
    groups = os.getgrouplist(account.pw_name, account.pw_gid)
    return {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": groups}


def _open_log(program: Program, index: int) -> int:
    """The log file; /dev/null when it cannot be opened (disk full), because the program matters more."""
    try:
        return open_for_program(log_file(program.pk, index))
    except OSError:
        return os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)


def _account(user: str) -> Any:
    """The passwd entry to run as; None for the agent's own account on systems without one."""
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
    """A small base, what the definition says, and the mark: nothing else of the agent's own is inherited."""
    environment = {"PATH": os.environ.get("PATH", DEFAULT_PATH)}
    environment |= {name: os.environ[name] for name in HANDED_ON if name in os.environ}
    if account is not None:
        environment |= {"HOME": account.pw_dir, "USER": account.pw_name, "SHELL": account.pw_shell or "/bin/sh"}
    environment |= definition.environment_of(program, index)
    return environment | {platform.MARKER: marker}


def _directory(program: Program) -> str:
    directory = program.working_directory or str(Path(settings.DATA_DIR).resolve())
    check_answers(directory)
    if not os.path.isdir(directory):  # noqa: PTH112  (a plain string all the way; this is the restart path)
        raise LaunchError(f"there is no folder {directory}")
    return directory


def _words(program: Program, index: int, path: str, directory: str) -> tuple[str, list[str]]:
    """The file to run, and the words it is given: the first one as it was typed."""
    command = fill(program.command, index)
    words = [SHELL, "-c", command] if program.shell else shlex.split(command)
    executable = _executable(words[0], path, directory)
    if program.max_open_files is not None:
        return SHELL, [SHELL, "-c", NUMBER_OF_FILES, str(program.max_open_files), executable, *words[1:]]
    return executable, words


def executable(program: Program) -> str:
    """The first word of its command; of a command for a shell, the shell. For telling people: never fails."""
    return SHELL if program.shell else program.command.partition(" ")[0].strip("'\"")


def _executable(name: str, path: str, directory: str) -> str:
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


def _explained(error: OSError, word: str) -> LaunchError:
    if isinstance(error, FileNotFoundError | PermissionError | NotADirectoryError):
        return LaunchError(f"cannot run {error.filename or word}: {error.strerror}")
    if error.strerror == "Exec format error":
        return LaunchError(f"{word} is no program of this system (a script needs a first line such as #!/bin/sh)")
    return LaunchError(f"cannot start {word}: {error.strerror}", is_permanent=error.errno not in PASSING)


# --- Console --------------------------------------------------------------------------------------------


def console_path(program_id: int, index: int) -> Path:
    return Path(settings.RUN_DIR) / "console" / f"{program_id}-{index}"


def open_console(program_id: int, index: int, account: Any) -> int:
    """A FIFO open read-write, to be the program's stdin: holding it itself, the program never sees an end."""
    path = console_path(program_id, index)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    os.mkfifo(path, 0o600)
    if account is not None and account.pw_uid != os.geteuid():
        os.chown(path, account.pw_uid, account.pw_gid)
    return os.open(path, os.O_RDWR | os.O_CLOEXEC)


def write_console(program_id: int, index: int, text: str) -> None:
    """Types `text`. Raises OSError when nobody reads there or the program does not keep up."""
    descriptor = os.open(console_path(program_id, index), os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        os.write(descriptor, text.encode())
    finally:
        os.close(descriptor)
