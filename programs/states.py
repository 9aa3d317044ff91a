"""The states of a process, the transitions between them and the actions each allows. Imports nothing of ours.

The names are Supervisor's.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum


class State(StrEnum):
    STOPPED = "stopped"
    STARTING = "starting"
    RUNNING = "running"
    BACKOFF = "backoff"
    STOPPING = "stopping"
    EXITED = "exited"
    FATAL = "fatal"
    UNKNOWN = "unknown"  # shown when the agent's heartbeat is lost; never stored


class Action(StrEnum):
    START = "start"
    STOP = "stop"
    RESTART = "restart"
    KILL = "kill"


ALIVE = frozenset({State.STARTING, State.RUNNING, State.STOPPING})
AT_REST = frozenset({State.STOPPED, State.EXITED, State.FATAL})

TRANSITIONS: dict[State, frozenset[State]] = {
    State.STOPPED: frozenset({State.STARTING, State.BACKOFF, State.FATAL}),
    # To itself: a process that exited at once is followed by its successor.
    State.STARTING: frozenset(
        {State.STARTING, State.RUNNING, State.BACKOFF, State.STOPPING, State.EXITED, State.FATAL}
    ),
    State.RUNNING: frozenset({State.STARTING, State.BACKOFF, State.STOPPING, State.EXITED, State.FATAL}),
    # To itself: the start after the delay failed for a transient reason.
    State.BACKOFF: frozenset({State.STARTING, State.STOPPED, State.BACKOFF, State.FATAL}),
    State.STOPPING: frozenset({State.STOPPED, State.STARTING, State.BACKOFF, State.EXITED, State.FATAL}),
    State.EXITED: frozenset({State.STARTING, State.STOPPED, State.BACKOFF, State.FATAL}),
    State.FATAL: frozenset({State.STARTING, State.STOPPED}),
}

# The API answers 409 to every other action.
ALLOWED_ACTIONS: dict[State, frozenset[Action]] = {
    State.STOPPED: frozenset({Action.START, Action.RESTART}),
    State.STARTING: frozenset({Action.STOP, Action.RESTART, Action.KILL}),
    State.RUNNING: frozenset({Action.STOP, Action.RESTART, Action.KILL}),
    State.BACKOFF: frozenset({Action.START, Action.STOP, Action.RESTART, Action.KILL}),
    State.STOPPING: frozenset({Action.START, Action.STOP, Action.RESTART, Action.KILL}),
    State.EXITED: frozenset({Action.START, Action.STOP, Action.RESTART}),
    State.FATAL: frozenset({Action.START, Action.STOP, Action.RESTART}),
    State.UNKNOWN: frozenset(Action),
}

# A program of several instances shows the first of these that one of them is in.
MOST_URGENT_FIRST = (
    State.FATAL,
    State.BACKOFF,
    State.STOPPING,
    State.STARTING,
    State.RUNNING,
    State.EXITED,
    State.STOPPED,
)


class IllegalTransitionError(Exception):
    pass


def check_transition(old: State, new: State) -> None:
    if new not in TRANSITIONS[old]:
        raise IllegalTransitionError(f"{old} -> {new}")


def combined_state(states: Iterable[State]) -> State:
    """One state for a whole program, from those of its instances; `stopped` when it has none."""
    found = set(states)
    return next((state for state in MOST_URGENT_FIRST if state in found), State.STOPPED)
