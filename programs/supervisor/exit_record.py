"""An unrequested exit as it is recorded: event, columns and the facts of its incident."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from .journal import MAX_REASON_LENGTH, Entry, ProcessKey
from .platform import Exit
from .run import columns_after_exit
from .state_machine import make_event


@dataclass(frozen=True)
class ExitRecord:
    """A start that failed counts as an exit with an uptime of 0.

    `meaning` is a sentence for people, `data` goes into the event besides.
    """

    exit: Exit
    uptime: float
    meaning: str
    expected: bool = False
    data: dict[str, Any] = field(default_factory=dict)

    @property
    def reason(self) -> str:
        return self.meaning[:MAX_REASON_LENGTH]

    def entry(self, key: ProcessKey, at: datetime, actor: str, log_end: int | None, **data: Any) -> Entry:
        """The journal entry; an unexpected exit becomes `program.crashed` and an incident.

        `log_end` is how much the process had written; `data` says what follows the exit.
        """
        event_data: dict[str, Any] = {
            "exit_code": self.exit.code,
            "exit_signal": self.exit.signal,
            "meaning": self.meaning,
            "uptime_seconds": round(self.uptime, 3),
            **self.data,
            **data,
        }
        return Entry(
            key,
            values={**columns_after_exit(self.exit), "reason": self.reason},
            event=make_event("program.exited" if self.expected else "program.crashed", at, event_data, actor),
            incident=None if self.expected else {**event_data, "log_end": log_end},
        )
