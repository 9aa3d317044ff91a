"""When an alert fires and when it is over. Pure: values and clock are arguments, so the same answers for a minute
ago are given to the agent and for a week ago to a backtest.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from typing import NamedTuple

# How much of the window samples must speak for. A program that started a second ago has an average of its first
# second, which is mostly its start-up: it says nothing about five minutes. The whole window cannot be asked for
# either, since each restart and each late sample leaves a gap of a few seconds in it.
ENOUGH = 0.75


class Verdict(Enum):
    KEEP = auto()
    FIRE = auto()
    RECOVERED = auto()
    STOPPED = auto()


@dataclass(frozen=True)
class Terms:
    """What a rule says. `window` in seconds; levels in the unit of its metric."""

    is_above: bool
    threshold: float
    clear_threshold: float
    window: int

    def is_beyond(self, value: float) -> bool:
        return value > self.threshold if self.is_above else value < self.threshold

    def is_clear(self, value: float) -> bool:
        """Never together with `is_beyond`, as the clear threshold lies on the good side."""
        return value <= self.clear_threshold if self.is_above else value >= self.clear_threshold


@dataclass(frozen=True)
class Standing:
    """Whether an alert is open, and since when (Unix seconds) it is so; None: since ever."""

    is_firing: bool = False
    since: int | None = None


class Reading(NamedTuple):
    """What is known of one program. `value` and `covered` seconds are of the window that ends now.

    `is_running`: recorded just now; False: the agent looked and it was not there; None: nobody looked.
    """

    value: float | None
    covered: float
    is_running: bool | None


QUIET = Standing()


def judge(terms: Terms, standing: Standing, reading: Reading, now: int) -> Verdict:
    if not reading.is_running:
        has_stopped = reading.is_running is False and standing.is_firing
        return Verdict.STOPPED if has_stopped else Verdict.KEEP
    if reading.value is None or reading.covered < ENOUGH * terms.window:
        return Verdict.KEEP
    # The opposite verdict needs a window of its own. Otherwise a value that sways about the threshold would fire
    # and recover with each reading, and one that was judged already would be judged again after a restart.
    if standing.since is not None and 0 <= now - standing.since < terms.window:
        return Verdict.KEEP
    if standing.is_firing:
        return Verdict.RECOVERED if terms.is_clear(reading.value) else Verdict.KEEP
    return Verdict.FIRE if terms.is_beyond(reading.value) else Verdict.KEEP
