"""The only code that changes a process's state: it checks each transition and journals it with its event."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from programs.events import AGENT
from programs.models import event_id
from programs.states import State, check_transition

from .journal import MAX_REASON_LENGTH, Entry, ProcessKey
from .ports import Context


def make_event(type_: str, at: datetime, data: dict[str, Any], actor: str = AGENT) -> dict[str, Any]:
    """An event in the journal's form."""
    return {"uid": event_id(), "type": type_, "at": at.isoformat(), "actor": actor, "data": data}


class StateRecorder:
    """State, reason and counters of one process. Subclasses change the state with `_enter` only.

    `on_change` is called after each change of state or health.
    """

    def __init__(self, key: ProcessKey, context: Context, on_change: Callable[[ProcessKey], None]) -> None:
        self.key = key
        self.state = State.STOPPED
        self.reason = ""
        self.actor = AGENT
        self.restarts = 0
        self.recent_restarts: tuple[float, ...] = ()
        self._context = context
        self._on_change = on_change

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
        """`values` are further columns; an `entry` that already has its event replaces `event` and `data`."""
        check_transition(self.state, state)
        self.state, self.reason = state, reason
        entry = entry or self._make_entry(event, data or {})
        entry.values |= {
            **values,
            "state": state.value,
            "reason": reason[:MAX_REASON_LENGTH],
            "restarts": self.restarts,
            "recent_restarts": list(self.recent_restarts),
        }
        self._put(entry)
        self._on_change(self.key)

    def _set_reason(self, reason: str) -> None:
        if reason != self.reason:
            self.reason = reason
            self._put(Entry(self.key, {"reason": reason}))

    def record_event(self, event: str, data: dict[str, Any], actor: str = "", **values: Any) -> None:
        """An event that does not change the state, with the columns that change with it."""
        entry = self._make_entry(event, data, actor or AGENT)
        entry.values = values
        self._put(entry)

    def _make_entry(self, event: str, data: dict[str, Any], actor: str = "") -> Entry:
        if not event:
            return Entry(self.key)
        return Entry(self.key, event=make_event(event, self._context.wall_clock(), data, actor or self.actor))

    def _put(self, entry: Entry | None) -> None:
        if entry is not None:
            self._context.journal.put(entry)
