"""Adopting in place: a definition made from a process that already runs, which then goes on without a restart."""

from __future__ import annotations

import os
import shlex
import shutil
from dataclasses import dataclass
from datetime import UTC, datetime

import psutil
from django.core.exceptions import ValidationError
from django.db import transaction

from core.doorbell import ring_on_commit

from . import services
from .models import Intent, Process, Program
from .supervisor import platform

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
    kept_out = _looked_after() | _our_own()
    for process in sorted(psutil.process_iter(ATTRIBUTES), key=lambda p: (p.info["create_time"] or 0, p.pid)):
        parent = process.info["ppid"]
        if process.pid in kept_out or parent in kept_out or parent in listed:
            kept_out.add(process.pid)
        elif found := _candidate(process):
            listed[process.pid] = found
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
        program = services.save_definition({**values, "autostart": False}, actor=actor).program
        program.autostart = True
        program.save(update_fields=["autostart"])
        identity = {"pid": who.pid, "kernel_start": who.kernel_start, "boot_id": who.boot_id}
        Intent.objects.create(program=program, verb="adopt", actor=actor, data=identity)
        ring_on_commit("agent")
    return program


def _candidate_of(pid: int) -> Candidate | None:
    if pid in _looked_after() or pid in _our_own():
        raise ValidationError({"pid": f"Process {pid} belongs to the monitor or is looked after already."})
    try:
        process = psutil.Process(pid)
        process.info = process.as_dict(ATTRIBUTES)  # the form process_iter gives
    except psutil.NoSuchProcess:
        return None
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


def _our_own() -> set[int]:
    """This process and those above it: nobody adopts the branch they sit on."""
    return {os.getpid(), *(parent.pid for parent in psutil.Process().parents())}


def _own_name() -> str:
    return psutil.Process().username()
