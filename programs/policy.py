"""What to do when a process ends or needs a change. Pure: the clock and the dice are arguments.

Times are seconds on a clock that neither people nor NTP can move (see `platform.now`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .states import State


@dataclass(frozen=True)
class Rules:
    """The fields of a definition that decide about restarts."""

    restart_policy: str
    success_exit_codes: frozenset[int]
    backoff_initial: float
    backoff_factor: float
    backoff_max: float
    backoff_jitter: float
    stable_seconds: float
    max_restarts: int
    restart_window: float


@dataclass(frozen=True)
class Decision:
    """The state to enter, after which delay to start again, and the automatic restarts that count from now on."""

    state: State
    delay: float = 0
    reason: str = ""
    recent_restarts: tuple[float, ...] = ()


def is_expected(rules: Rules, exit_code: int | None, exit_signal: str | None) -> bool:
    """Whether the program says that it ended well. An unknown exit (nobody could see it) counts as a crash."""
    return exit_signal is None and exit_code in rules.success_exit_codes


def after_exit(
    rules: Rules, *, expected: bool, uptime: float, recent_restarts: Sequence[float], now: float, dice: float
) -> Decision:
    """What follows an exit that nobody asked for.

    `recent_restarts` are the moments of earlier automatic restarts, `dice` is uniform in 0 … 1. The first
    restart is immediate; from the second within `stable_seconds` on the delay grows by `backoff_factor`.
    """
    if rules.restart_policy == "never" or (expected and rules.restart_policy == "on-failure"):
        return Decision(State.EXITED)
    horizon = max(rules.restart_window, rules.stable_seconds)
    # A moment in the future belongs to another boot's clock.
    recent = tuple(moment for moment in recent_restarts if 0 <= now - moment < horizon)
    in_window = [moment for moment in recent if now - moment < rules.restart_window]
    if rules.max_restarts and len(in_window) >= rules.max_restarts:
        reason = f"gave up after {len(in_window)} restarts within {rules.restart_window:g} s"
        return Decision(State.FATAL, reason=reason)
    delay = backoff(rules, _since_stable(rules, uptime, recent, now), dice)
    state = State.BACKOFF if delay else State.STARTING
    return Decision(state, delay, recent_restarts=(*recent, now + delay))


def _since_stable(rules: Rules, uptime: float, recent: Sequence[float], now: float) -> int:
    """Restarts since the program last ran for `stable_seconds`: the backoff forgets those before."""
    count, later = 0, now
    for moment in reversed(recent if uptime < rules.stable_seconds else ()):
        if later - moment >= rules.stable_seconds:
            break
        count, later = count + 1, moment
    return count


def backoff(rules: Rules, earlier: int, dice: float) -> float:
    """Seconds before the next start, after `earlier` automatic restarts that still count."""
    if earlier == 0:
        return 0
    exponent = min(earlier - 1, 64)
    delay = min(rules.backoff_initial * rules.backoff_factor**exponent, rules.backoff_max)
    return max(0.0, delay * (1 + rules.backoff_jitter * (2 * dice - 1)))


@dataclass(frozen=True)
class Scaling:
    """When to add or take away instances: the mean CPU per instance against a target, with slack in between."""

    target: float
    low: int
    high: int
    slack: float = 0.2


def instances_wanted(scaling: Scaling, running: int, cpu_percent: float) -> int:
    """How many instances the load asks for; one step at a time, so that each step shows its effect first."""
    if not running:
        return max(scaling.low, running)
    share = cpu_percent / running / scaling.target
    if share > 1 + scaling.slack:
        return min(running + 1, scaling.high)
    fits_on_fewer = running > 1 and cpu_percent / (running - 1) / scaling.target < 1 - scaling.slack
    return max(running - 1, scaling.low) if fits_on_fewer else min(max(running, scaling.low), scaling.high)
