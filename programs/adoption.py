"""Adopting in place: a definition made from a process that already runs, which then goes on without a restart."""

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
ATTRIBUTES = ["pid", "ppid", "username", "cmdline", "cwd", "exe", "create_time", "memory_info"]


@dataclass(frozen=True)
class Candidate:
    """A process of this host that could be adopted."""

    pid: int
    user: str
    command: str
    working_directory: str
    started_at: datetime
    memory_bytes: int


def candidates() -> list[Candidate]:
    """Processes with a command line that are neither the monitor's own nor looked after already, oldest first.

    Children of one that is listed are left out: adopting the parent covers the tree.
    """
    listed: dict[int, Candidate] = {}
    covered = _looked_after()
    ancestors = _ancestors()
    for process in sorted(psutil.process_iter(ATTRIBUTES), key=lambda p: (p.info["create_time"] or 0, p.pid)):
        if process.pid in covered or process.info["ppid"] in covered or _is_ours(process):
            covered.add(process.pid)
        elif process.pid not in ancestors and (found := _candidate(process)):
            listed[process.pid] = found
            covered.add(process.pid)
    return list(listed.values())


def adopt(pid: int, *, name: str, actor: str) -> Program:
    """Defines `name` from the running `pid` and asks the agent to take it over. Raises ValidationError.

    Its present output stays where it goes; what it prints is captured from its next start on. Its environment is
    not copied, since it may hold secrets.
    """
    found = _candidate_of(pid)
    who = platform.identity(pid)
    if found is None or who is None:
        raise ValidationError({"pid": f"There is no process {pid} that could be adopted."})
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


def _candidate_of(pid: int) -> Candidate | None:
    try:
        process = psutil.Process(pid)
        process.info = process.as_dict(ATTRIBUTES)  # the form process_iter gives
    except psutil.NoSuchProcess:
        return None
    above = {pid, *(parent.pid for parent in process.parents())}
    if above & _looked_after() or pid in _ancestors() or _is_ours(process):
        raise ValidationError({"pid": f"Process {pid} belongs to the monitor or is looked after already."})
    return _candidate(process)


def _candidate(process: psutil.Process) -> Candidate | None:
    """None for kernel threads and for what this user may not look into."""
    info = process.info
    if not info["cmdline"] or process.pid == 1:
        return None
    return Candidate(
        pid=process.pid,
        user=info["username"] or "",
        command=shlex.join(_words(info["cmdline"], info["cwd"] or "/", info["exe"] or "")),
        working_directory=info["cwd"] or "",
        started_at=datetime.fromtimestamp(info["create_time"], UTC),
        memory_bytes=info["memory_info"].rss if info["memory_info"] else 0,
    )


def _words(cmdline: list[str], directory: str, executable: str) -> list[str]:
    """The command as it could be started again. Daemons rewrite theirs into a title: then only the program."""
    first, *rest = cmdline
    if shutil.which(first) or os.access(os.path.join(directory, first), os.X_OK):  # noqa: PTH118
        return [first, *rest]
    return [executable, *rest] if executable and rest else [executable or first]


def _looked_after() -> set[int]:
    rows = Process.objects.exclude(pid=None).values_list("pid", "kernel_start", "boot_id")
    return {pid for pid, start, boot in rows if pid and platform.identity(pid) == (pid, start, boot)}


def _ancestors() -> set[int]:
    """This process and those above it: nobody adopts the branch they sit on."""
    return {os.getpid(), *(parent.pid for parent in psutil.Process().parents())}


def _is_ours(process: psutil.Process) -> bool:
    """Whether it is a part of the monitor itself (serve, agent, web, jobs or a command)."""
    folder = Path(process.info["cwd"] or "/")
    return any(word.endswith("manage.py") and folder / word == MANAGE for word in process.info["cmdline"] or ())


def _own_name() -> str:
    return psutil.Process().username()
