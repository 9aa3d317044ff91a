"""The policy of alerts: when one fires and when it resolves.

Pure functions with values and time as arguments, so the agent and a backtest decide the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from typing import NamedTuple

# The fraction of the window that samples must cover. Without it a program would fire for its start-up, since the
# average of its first second would count for five minutes. It is below 1 because each restart and each late sample
# leaves a gap of a few seconds.
MIN_COVERAGE = 0.75


class Transition(Enum):
    KEEP = auto()
    FIRE = auto()
    RECOVERED = auto()
    STOPPED = auto()


@dataclass(frozen=True)
class Thresholds:
    """The condition of a rule. `window` in seconds; thresholds in the unit of the metric."""

    is_above: bool
    threshold: float
    clear_threshold: float
    window: int

    def is_beyond(self, value: float) -> bool:
        return value > self.threshold if self.is_above else value < self.threshold

    def is_clear(self, value: float) -> bool:
        # Never true together with `is_beyond`: validation keeps the clear threshold on the other side.
        return value <= self.clear_threshold if self.is_above else value >= self.clear_threshold


@dataclass(frozen=True)
class AlertState:
    """Whether an alert is firing, and since when (Unix seconds; None: always)."""

    is_firing: bool = False
    since: int | None = None


class MetricReading(NamedTuple):
    """One program's metric in the window that ends now. `covered` is in seconds.

    `is_running` is False if the agent sampled and found no process, and None if the agent did not sample.
    """

    value: float | None
    covered: float
    is_running: bool | None


NOT_FIRING = AlertState()


def decide(thresholds: Thresholds, state: AlertState, reading: MetricReading, now: int) -> Transition:
    if not reading.is_running:
        has_stopped = reading.is_running is False and state.is_firing
        return Transition.STOPPED if has_stopped else Transition.KEEP
    if reading.value is None or reading.covered < MIN_COVERAGE * thresholds.window:
        return Transition.KEEP
    # An alert stays firing (and resolved) for at least one window. Otherwise a value around the threshold would
    # fire and recover with each sample, and an old value would be evaluated again after a restart.
    if state.since is not None and 0 <= now - state.since < thresholds.window:
        return Transition.KEEP
    if state.is_firing:
        return Transition.RECOVERED if thresholds.is_clear(reading.value) else Transition.KEEP
    return Transition.FIRE if thresholds.is_beyond(reading.value) else Transition.KEEP
