"""Decides what follows an exit, and how many instances a load needs. Pure: clock and randomness are arguments.

Times are seconds on a clock that neither people nor NTP can set (see `platform.now`).
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
    """The next state; STARTING means now, BACKOFF after `delay` seconds.

    `recent_restarts` are the timestamps of automatic restarts that still count, this one included.
    """

    state: State
    delay: float = 0
    reason: str = ""
    recent_restarts: tuple[float, ...] = ()


def is_expected_exit(rules: Rules, exit_code: int | None, exit_signal: str | None) -> bool:
    """Whether the program reports success. An unknown exit counts as a crash."""
    return exit_signal is None and exit_code in rules.success_exit_codes


def decide_after_exit(
    rules: Rules, *, expected: bool, uptime: float, recent_restarts: Sequence[float], now: float, random: float
) -> Decision:
    """What follows an exit that nobody requested. `random` is uniform in 0 … 1.

    The first restart is immediate; from the second within `stable_seconds` on the delay grows by `backoff_factor`.
    """
    if rules.restart_policy == "never" or (expected and rules.restart_policy == "on-failure"):
        return Decision(State.EXITED)
    horizon = max(rules.restart_window, rules.stable_seconds)
    # A timestamp in the future belongs to another boot's clock.
    recent = tuple(at for at in recent_restarts if 0 <= now - at < horizon)
    in_window = [at for at in recent if now - at < rules.restart_window]
    if rules.max_restarts and len(in_window) >= rules.max_restarts:
        reason = f"gave up after {len(in_window)} restarts within {rules.restart_window:g} s"
        return Decision(State.FATAL, reason=reason)
    delay = backoff_delay(rules, _restarts_since_stable(rules, uptime, recent, now), random)
    state = State.BACKOFF if delay else State.STARTING
    return Decision(state, delay, recent_restarts=(*recent, now + delay))


def _restarts_since_stable(rules: Rules, uptime: float, recent: Sequence[float], now: float) -> int:
    """Restarts since the program last ran for `stable_seconds`: backoff ignores earlier ones."""
    count, later = 0, now
    for at in reversed(recent if uptime < rules.stable_seconds else ()):
        if later - at >= rules.stable_seconds:
            break
        count, later = count + 1, at
    return count


def backoff_delay(rules: Rules, restarts: int, random: float) -> float:
    """Seconds before the next start, after so many automatic restarts that still count."""
    if restarts == 0:
        return 0
    exponent = min(restarts - 1, 64)  # a larger one overflows a float
    delay = min(rules.backoff_initial * rules.backoff_factor**exponent, rules.backoff_max)
    return max(0.0, delay * (1 + rules.backoff_jitter * (2 * random - 1)))


@dataclass(frozen=True)
class Scaling:
    """The CPU per instance to aim for, in percent of one core; within `tolerance` of it nothing changes."""

    target: float
    minimum: int
    maximum: int
    tolerance: float = 0.2


def desired_instances(scaling: Scaling, running: int, cpu_percent: float) -> int:
    """How many instances the load needs; one step at a time, so that the effect of each shows first."""
    if not running:
        return max(scaling.minimum, running)
    share = cpu_percent / running / scaling.target
    if share > 1 + scaling.tolerance:
        return min(running + 1, scaling.maximum)
    fits_on_fewer = running > 1 and cpu_percent / (running - 1) / scaling.target < 1 - scaling.tolerance
    if fits_on_fewer:
        return max(running - 1, scaling.minimum)
    return min(max(running, scaling.minimum), scaling.maximum)
