"""The output of programs as people may see it: the right logs, and the program's secrets blanked."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Iterable
from datetime import datetime
from pathlib import Path
from typing import TypedDict

from django.conf import settings

from core import secrets
from core.secrets import SecretUnreadableError

from .definition.environment import secret_values
from .logs import search
from .logs.follow import follow
from .logs.lines import Line, Lines
from .logs.paths import LogFile
from .models import Program

UNREADABLE_SECRETS = "(not shown: the program's secrets cannot be read, so they cannot be masked)"
LONGEST_SEARCH_SECONDS = 5.0


class FoundLine(TypedDict):
    time: str | None
    text: str
    instance: int
    program: dict[str, int | str]


class FoundLines(TypedDict):
    lines: list[FoundLine]
    truncated: bool


class Output:
    """The logs of some instances of one program. Making one reads the database; reading lines does not."""

    def __init__(self, program: Program, instance: int | None = None) -> None:
        every = sorted(process.index for process in program.processes.all())
        indexes = (every or [0]) if instance is None else [instance]
        self.program = program
        self.logs = [LogFile(Path(settings.LOG_DIR) / str(program.pk), index) for index in indexes]
        self._veil = Veil(program)

    def read(
        self,
        *,
        tail: int | None = None,
        q: str = "",
        since: datetime | None = None,
        until: datetime | None = None,
        around: datetime | None = None,
    ) -> Lines:
        """See `logs.search.read`. Blocks on files."""
        directory, indexes = self.logs[0].directory, [log.index for log in self.logs]
        found = search.read_program(
            directory, indexes, tail=tail, q=q or None, since=since, until=until, around=around
        )
        return {"lines": self._veil.over(found["lines"], q), "truncated": found["truncated"]}

    async def follow(self, *, tail: int = 0, q: str = "") -> AsyncGenerator[list[Line], None]:
        """Batches of lines as they are written, beginning with the last `tail` there are."""
        async for batch in follow(self.logs, tail=tail):
            if lines := self._veil.over(batch, q):
                yield lines

    def last_written(self) -> float:
        """Unix seconds; 0 when nothing ever was."""
        return max(_modified(log.live) for log in self.logs)

    def labelled(self, line: Line) -> FoundLine:
        return {
            "time": line["time"],
            "text": line["text"],
            "instance": line.get("instance", self.logs[0].index),
            "program": {"id": self.program.pk, "name": self.program.name},
        }


class Veil:
    """Blanks the values of a program's secret variables wherever they turn up."""

    def __init__(self, program: Program) -> None:
        try:
            self._hidden: list[str] | None = secret_values(program)
        except SecretUnreadableError:
            self._hidden = None

    def over(self, lines: Iterable[Line], q: str = "") -> list[Line]:
        """`lines` without secrets, and without those where `q` is found in a secret only: that would tell it."""
        if self._hidden is None:
            return [{**line, "text": UNREADABLE_SECRETS} for line in lines]
        needle = q.casefold()
        shown: list[Line] = [{**line, "text": secrets.mask(line["text"], self._hidden)} for line in lines]
        return [line for line in shown if needle in line["text"].casefold()]


def _modified(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return 0.0


def search_everywhere(q: str, *, limit: int, since: datetime | None, until: datetime | None) -> FoundLines:
    """The newest `limit` lines with the literal text `q` in the logs of all programs, oldest first.

    Looks at the logs written last first and gives up after five seconds; then `truncated` is true.
    """
    outputs = sorted(_outputs(), key=Output.last_written, reverse=True)
    lines: list[FoundLine] = []
    truncated, deadline = False, time.monotonic() + LONGEST_SEARCH_SECONDS
    for output in outputs:
        if time.monotonic() > deadline:
            truncated = True
            break
        found = output.read(tail=limit, q=q, since=since, until=until)
        truncated |= found["truncated"]
        lines += [output.labelled(line) for line in found["lines"]]
    lines.sort(key=lambda line: (line["time"] is None, line["time"]))  # what has no time yet is newest
    return {"lines": lines[-limit:], "truncated": truncated or len(lines) > limit}


def _outputs() -> list[Output]:
    return [Output(program) for program in Program.objects.prefetch_related("processes")]
