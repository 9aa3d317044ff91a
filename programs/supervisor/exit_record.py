"""The end of a run, as it is told: how it came, what it means, and what is written of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from . import launch
from .journal import LONGEST_REASON, Entry, Key
from .platform import Exit
from .run import columns_after
from .state_machine import told


@dataclass(frozen=True)
class Ending:
    """An end that nobody asked for, after `uptime` seconds; a start that failed is one after none.

    `meaning` is a sentence for people, `facts` are further data of its event.
    """

    exit: Exit
    uptime: float
    meaning: str
    expected: bool = False
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def reason(self) -> str:
        """Its meaning, as short as the reason of a state has to be."""
        return self.meaning[:LONGEST_REASON]

    def entry(self, key: Key, actor: str, **facts: Any) -> Entry:
        """What is written of it, with an incident if it was not expected; `facts` say what follows."""
        data: dict[str, Any] = {
            "exit_code": self.exit.code,
            "exit_signal": self.exit.signal,
            "meaning": self.meaning,
            "uptime_seconds": round(self.uptime, 3),
            **self.facts,
            **facts,
        }
        return Entry(
            key,
            values={**columns_after(self.exit), "reason": self.reason},
            event=told("program.exited" if self.expected else "program.crashed", data, actor),
            incident=None if self.expected else {**data, "log_end": launch.log_end(*key)},
        )
