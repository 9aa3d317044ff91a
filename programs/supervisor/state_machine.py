"""The one writer of a process's state: every change is checked, and leaves as one entry with its event."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from programs.events import AGENT
from programs.models import event_id
from programs.states import State, check_move

from .journal import LONGEST_REASON, Entry, Journal, Key
from .oom import OutOfMemory
from .process_tree import Scanner


@dataclass
class Context:
    """What all processes share. `changed` is called after each change of state or health of one of them."""

    journal: Journal
    scanner: Scanner
    changed: Callable[[Key], None]
    out_of_memory: OutOfMemory = field(default_factory=OutOfMemory)


def told(event: str, data: dict[str, Any], actor: str = AGENT) -> dict[str, Any]:
    """An event in the journal's form."""
    at = datetime.now(UTC).isoformat()
    return {"uid": event_id(), "type": event, "at": at, "actor": actor, "data": data}


class StateRecorder:
    """State, reason and counters of the process `key`. Subclasses move it with `_enter`, and by nothing else."""

    def __init__(self, key: Key, around: Context) -> None:
        self.key = key
        self.state = State.STOPPED
        self.reason = ""
        self.actor = AGENT
        self.restarts = 0
        self.recent_restarts: tuple[float, ...] = ()
        self._around = around

    def _enter(
        self,
        state: State,
        *,
        reason: str = "",
        event: str = "",
        data: dict[str, Any] | None = None,
        entry: Entry | None = None,
        **values: Any,
    ) -> None:
        check_move(self.state, state)
        self.state, self.reason = state, reason
        entry = entry or self._entry(event, data or {})
        entry.values |= {
            **values,
            "state": state.value,
            "reason": reason[:LONGEST_REASON],
            "restarts": self.restarts,
            "recent_restarts": list(self.recent_restarts),
        }
        self._put(entry)
        self._around.changed(self.key)

    def _explain(self, reason: str) -> None:
        """A new reason for the same state."""
        if reason != self.reason:
            self.reason = reason
            self._put(Entry(self.key, {"reason": reason}))

    def note(self, event: str, data: dict[str, Any], actor: str = AGENT, **values: Any) -> None:
        """A fact that does not change the state."""
        entry = self._entry(event, data, actor)
        entry.values = values
        self._put(entry)

    def _entry(self, event: str, data: dict[str, Any], actor: str = "") -> Entry:
        return Entry(self.key, event=told(event, data, actor or self.actor) if event else None)

    def _put(self, entry: Entry | None) -> None:
        if entry is not None:
            self._around.journal.put(entry)
