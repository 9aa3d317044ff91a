"""The states of a process, in Supervisor's vocabulary, and the moves between them. Imports nothing of ours."""

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
    UNKNOWN = "unknown"  # shown when the host's agent is silent; never stored


class Action(StrEnum):
    START = "start"
    STOP = "stop"
    RESTART = "restart"
    KILL = "kill"


ALIVE = frozenset({State.STARTING, State.RUNNING, State.STOPPING})
AT_REST = frozenset({State.STOPPED, State.EXITED, State.FATAL})

MOVES: dict[State, frozenset[State]] = {
    State.STOPPED: frozenset({State.STARTING, State.BACKOFF, State.FATAL}),
    # From itself: a process that ended at once is followed by its successor.
    State.STARTING: frozenset(
        {State.STARTING, State.RUNNING, State.BACKOFF, State.STOPPING, State.EXITED, State.FATAL}
    ),
    State.RUNNING: frozenset({State.STARTING, State.BACKOFF, State.STOPPING, State.EXITED, State.FATAL}),
    # From itself: the start that followed the delay failed for a passing reason.
    State.BACKOFF: frozenset({State.STARTING, State.STOPPED, State.BACKOFF, State.FATAL}),
    State.STOPPING: frozenset({State.STOPPED, State.STARTING, State.BACKOFF, State.EXITED, State.FATAL}),
    State.EXITED: frozenset({State.STARTING, State.STOPPED, State.BACKOFF, State.FATAL}),
    State.FATAL: frozenset({State.STARTING, State.STOPPED}),
}

# Which verbs make sense for a program in a state; the others are answered with a conflict.
VERBS: dict[State, frozenset[Action]] = {
    State.STOPPED: frozenset({Action.START, Action.RESTART}),
    State.STARTING: frozenset({Action.STOP, Action.RESTART, Action.KILL}),
    State.RUNNING: frozenset({Action.STOP, Action.RESTART, Action.KILL}),
    State.BACKOFF: frozenset({Action.START, Action.STOP, Action.RESTART, Action.KILL}),
    State.STOPPING: frozenset({Action.START, Action.STOP, Action.RESTART, Action.KILL}),
    State.EXITED: frozenset({Action.START, Action.STOP, Action.RESTART}),
    State.FATAL: frozenset({Action.START, Action.STOP, Action.RESTART}),
    State.UNKNOWN: frozenset(Action),
}

# A program of several instances shows the state that most needs attention.
ATTENTION = (
    State.FATAL,
    State.BACKOFF,
    State.STOPPING,
    State.STARTING,
    State.RUNNING,
    State.EXITED,
    State.STOPPED,
)


class IllegalMoveError(Exception):
    """A change of state that the table above does not allow."""


def check_move(old: State, new: State) -> None:
    if new not in MOVES[old]:
        raise IllegalMoveError(f"{old} -> {new}")


def combined(states: Iterable[State]) -> State:
    """One state for a whole program, from those of its instances; `stopped` when it has none."""
    found = set(states)
    return next((state for state in ATTENTION if state in found), State.STOPPED)
