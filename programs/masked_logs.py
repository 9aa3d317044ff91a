"""Reads, follows and searches program logs with secret values masked."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator
from datetime import datetime
from pathlib import Path
from typing import TypedDict

from asgiref.sync import sync_to_async
from django.conf import settings
from django.db import DatabaseError
from django.db.models import Exists, Q

from core.db_errors import is_outage
from core.exceptions import ConflictError
from core.secret_mask import SecretMask

from .definition.environment import secret_mask
from .logs import search
from .logs.follow import follow
from .logs.lines import Line, Lines
from .logs.paths import LogFile
from .models import Host, Program

SEARCH_SECONDS = 5.0


class FoundLine(TypedDict):
    time: str | None
    text: str
    instance: int
    program: dict[str, int | str]


class FoundLines(TypedDict):
    lines: list[FoundLine]
    truncated: bool


def refuse_logs_elsewhere(program: Program) -> None:
    """Raises ConflictError, which names the host, if the log files of `program` are on another machine."""
    host = program.host or Host.objects.filter(is_default=True).first()
    if host and host.name != settings.HOST_NAME:
        raise ConflictError(
            f"{program.name} runs on {host.name}: read its logs there, not on {settings.HOST_NAME}."
        )


class ProgramLogs:
    """The logs of one program, of all instances or one. See `refuse_logs_elsewhere`."""

    def __init__(self, program: Program, instance: int | None = None) -> None:
        known = sorted(process.index for process in program.processes.all())
        indexes = (known or [0]) if instance is None else [instance]
        self.program = program
        self.logs = [LogFile(Path(settings.LOG_DIR) / str(program.pk), index) for index in indexes]
        self.mask = CurrentMask(program)

    def read(
        self,
        *,
        tail: int | None = None,
        q: str = "",
        since: datetime | None = None,
        until: datetime | None = None,
        around: datetime | None = None,
    ) -> Lines:
        """See `logs.search.read_program`. Reads files, so it can block."""
        directory, indexes = self.logs[0].directory, [log.index for log in self.logs]
        return search.read_program(
            directory,
            indexes,
            tail=tail,
            q=q or None,
            since=since,
            until=until,
            around=around,
            mask=self.mask.known,
        )

    async def follow(self, *, tail: int = 0, q: str = "") -> AsyncGenerator[list[Line], None]:
        """New lines that contain `q` once masked."""
        needle = q.casefold()
        async for batch in follow(self.logs, tail=tail, mask=sync_to_async(self.mask)):
            if lines := [line for line in batch if needle in line["text"].casefold()]:
                yield lines

    def last_written(self) -> float:
        return max(_modified(log.live) for log in self.logs)

    def with_program(self, line: Line) -> FoundLine:
        return {
            "time": line["time"],
            "text": line["text"],
            "instance": line.get("instance", self.logs[0].index),
            "program": {"id": self.program.pk, "name": self.program.name},
        }


class CurrentMask:
    """The mask of a program, as its definition is now: its secrets can change while someone follows its log."""

    def __init__(self, program: Program) -> None:
        self._program = program
        self.known = secret_mask(program)

    def __call__(self) -> SecretMask:
        """Reads the database. During an outage the last known mask stays."""
        try:
            changed = (
                Program.everything.filter(pk=self._program.pk).exclude(revision=self._program.revision).first()
            )
        except DatabaseError as error:
            if not is_outage(error):
                raise
            changed = None
        if changed:
            self._program, self.known = changed, secret_mask(changed)
        return self.known


def _modified(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return 0.0


def search_all_programs(q: str, *, limit: int, since: datetime | None, until: datetime | None) -> FoundLines:
    """The newest `limit` lines that contain the literal text `q`, of all programs of this host, oldest first.

    Searches the most recently written logs first and stops after SEARCH_SECONDS with `truncated`.
    """
    program_logs = sorted(_all_logs(), key=ProgramLogs.last_written, reverse=True)
    lines: list[FoundLine] = []
    truncated, deadline = False, time.monotonic() + SEARCH_SECONDS
    for logs in program_logs:
        if time.monotonic() > deadline:  # one search must not occupy a thread for minutes
            truncated = True
            break
        found = logs.read(tail=limit, q=q, since=since, until=until)
        truncated |= found["truncated"]
        lines += [logs.with_program(line) for line in found["lines"]]
    lines.sort(key=lambda line: (line["time"] is None, line["time"]))  # lines without a time yet are the newest
    return {"lines": lines[-limit:], "truncated": truncated or len(lines) > limit}


def _all_logs() -> list[ProgramLogs]:
    elsewhere = Host.objects.filter(is_default=True).exclude(name=settings.HOST_NAME)
    local = Q(host__name=settings.HOST_NAME) | (Q(host=None) & ~Exists(elsewhere))
    return [ProgramLogs(program) for program in Program.objects.filter(local).prefetch_related("processes")]
