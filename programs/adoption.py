"""Adoption: creates a program from a running process and takes the process over without a restart."""

from __future__ import annotations

import os
import shlex
import shutil
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import psutil
from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import transaction

from core.doorbell import ring_on_commit
from core.models import Sequence

from . import services
from .hosts import this_host
from .models import Intent, Process, Program
from .supervisor import platform

MANAGE = Path(__file__).resolve().parent.parent / "manage.py"
ATTRIBUTES = ["pid", "ppid", "username", "cmdline", "cwd", "exe", "create_time", "memory_info", "status"]
INIT, KTHREADD = 1, 2


@dataclass(frozen=True)
class Candidate:
    """A process of this host that can be adopted."""

    pid: int
    user: str
    command: str
    working_directory: str
    started_at: datetime
    memory_bytes: int


def candidates() -> list[Candidate]:
    """Oldest first; without the monitor's own, supervised ones and, unless the monitor is root, other users'.

    Leaves out the children of a listed process: adopting the parent covers its tree.
    """
    listed: dict[int, Candidate] = {}
    covered = set(_supervised())
    ancestors = _ancestors()
    for process in sorted(psutil.process_iter(ATTRIBUTES), key=lambda p: (p.info["create_time"] or 0, p.pid)):
        if process.pid in covered or process.info["ppid"] in covered or _is_ours(process):
            covered.add(process.pid)
        elif process.pid not in ancestors and not _obstacle(process):
            listed[process.pid] = _candidate(process)
            covered.add(process.pid)
    return list(listed.values())


def adopt(pid: int, *, name: str, actor: str) -> Program:
    """Creates the program `name` from `pid` and requests its adoption from the agent. Raises ValidationError.

    Its output is captured only after its next start. Its environment isn't copied, since it may hold secrets.
    """
    found, who = candidate(pid), platform.identity(pid)
    if who is None:
        raise _refused(pid, "has exited")
    values = {"name": name, "command": found.command, "working_directory": found.working_directory}
    if found.user != _own_name():
        values["user"] = found.user
    with transaction.atomic():
        if not this_host().is_default:
            values["host"] = settings.HOST_NAME
        program = services.save_definition(values, actor=actor, start=False).program
        identity = {"pid": who.pid, "kernel_start": who.kernel_start, "boot_id": who.boot_id}
        Intent.objects.create(
            program=program, verb="adopt", actor=actor, data=identity, revision=Sequence.advance()
        )
        ring_on_commit("agent")
    return program


def candidate(pid: int) -> Candidate:
    """Raises ValidationError with the reason why a process can't be adopted."""
    try:
        process = psutil.Process(pid)
        process.info = process.as_dict(ATTRIBUTES)  # what process_iter sets
        above = process.parents()
    except (psutil.NoSuchProcess, ValueError, OverflowError) as error:
        raise ValidationError({"pid": f"There is no process {pid}."}) from error
    supervised = _supervised()
    if program := next(
        (supervised[each] for each in (pid, *(parent.pid for parent in above)) if each in supervised), ""
    ):
        raise _refused(pid, f"belongs to {program}, which is supervised already")
    if _is_ours(process):
        raise _refused(pid, "belongs to the monitor itself")
    if reason := _obstacle(process):
        raise _refused(pid, reason)
    if pid in _ancestors():
        raise _refused(pid, "is this command itself, or one of its parents")
    return _candidate(process)


def _refused(pid: int, reason: str) -> ValidationError:
    return ValidationError({"pid": f"Process {pid} {reason}."})


def _obstacle(process: psutil.Process) -> str:
    info = process.info
    if process.pid == INIT:
        return "is the init process of this system"
    # All kernel threads are children of kthreadd, and have no command line.
    if os.name == "posix" and KTHREADD in (process.pid, info["ppid"]) and not info["cmdline"]:
        return "is a kernel thread"
    if info["status"] == psutil.STATUS_ZOMBIE:
        return "has exited"
    if not _is_root() and info["username"] != _own_name():
        return (
            f"belongs to {info['username'] or 'another user'}; only a monitor that runs as root can supervise it"
        )
    return "" if info["cmdline"] else "has no command line to start it again with"


def _is_root() -> bool:
    return not hasattr(os, "geteuid") or os.geteuid() == 0


def _candidate(process: psutil.Process) -> Candidate:
    info = process.info
    return Candidate(
        pid=process.pid,
        user=info["username"] or "",
        command=shlex.join(_command(info["cmdline"], info["cwd"] or "/", info["exe"] or "")),
        working_directory=info["cwd"] or "",
        started_at=datetime.fromtimestamp(info["create_time"], UTC),
        memory_bytes=info["memory_info"].rss if info["memory_info"] else 0,
    )


def _command(cmdline: list[str], directory: str, executable: str) -> list[str]:
    """A command that starts it again: only the executable if the process has replaced its arguments by a title."""
    first, *rest = cmdline
    if shutil.which(first) or os.access(os.path.join(directory, first), os.X_OK):  # noqa: PTH118
        return [first, *rest]
    return [executable, *rest] if executable and rest else [executable or first]


def _supervised() -> dict[int, str]:
    rows = Process.objects.exclude(pid=None).values_list("pid", "kernel_start", "boot_id", "program__name")
    return {pid: name for pid, start, boot, name in rows if pid and platform.identity(pid) == (pid, start, boot)}


def _ancestors() -> set[int]:
    return {os.getpid(), *(parent.pid for parent in psutil.Process().parents())}


def _is_ours(process: psutil.Process) -> bool:
    # serve, agent, web, jobs or a command, each started from this very manage.py
    folder = Path(process.info["cwd"] or "/")
    return any(word.endswith("manage.py") and folder / word == MANAGE for word in process.info["cmdline"] or ())


def _own_name() -> str:
    return psutil.Process().username()
