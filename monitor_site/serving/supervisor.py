"""Keeps the parts running until asked to stop, then stops them one after the other."""

from __future__ import annotations

import logging
import subprocess
import time
from collections.abc import Callable, Sequence

from . import platform
from .children import Part, RunningPart, how_it_ended
from .signals import Signals

log = logging.getLogger(__name__)
READY_CHECK_SECONDS = 0.1
IDLE_SECONDS = 30.0 if platform.CHILD_SIGNALS else 0.5  # without SIGCHLD a death is noticed by looking


class Supervisor:
    """Starts `parts` in order and stops them in `stop_order` (names).

    `is_ready` is asked until it says True, then `on_ready` is called once. `say` prints a line for people.
    """

    def __init__(
        self,
        parts: Sequence[Part],
        *,
        stop_order: Sequence[str],
        is_ready: Callable[[], bool],
        on_ready: Callable[[], None],
        say: Callable[[str], None],
    ) -> None:
        self.parts = {part.name: RunningPart(part) for part in parts}
        self.stop_order = [self.parts[name] for name in stop_order]
        self._is_ready, self._on_ready, self._say = is_ready, on_ready, say
        self._was_ready = False

    def run(self, signals: Signals) -> None:
        """Returns after a signal to stop, when every part has ended."""
        try:
            while not signals.stops_asked:
                signals.wait(self.step(time.monotonic()))
        finally:
            self.stop(signals)

    def step(self, now: float) -> float:
        """Does what is due at `now`; returns how many seconds may pass until the next look."""
        for running in self.parts.values():
            self._tend(running, now)
        if platform.adopts_orphans():
            platform.reap_orphans(self._processes())
        if not self._was_ready and self._is_ready():
            self._was_ready = True
            self._on_ready()
        due = [running.start_at - now for running in self.parts.values() if running.process is None]
        return min([*due, IDLE_SECONDS if self._was_ready else READY_CHECK_SECONDS])

    def _processes(self) -> dict[int, subprocess.Popen[bytes]]:
        return {r.process.pid: r.process for r in self.parts.values() if r.process is not None}

    def _tend(self, running: RunningPart, now: float) -> None:
        if running.process is None:
            if now >= running.start_at:
                self._start(running, now)
        elif (code := running.process.poll()) is not None:
            running.forget_process()
            self._note_death(running, how_it_ended(code), now)

    def _start(self, running: RunningPart, now: float) -> None:
        try:
            running.start(now)
        except OSError as error:  # no memory, no free process: others may end soon
            self._note_death(running, str(error), now)

    def _note_death(self, running: RunningPart, how: str, now: float) -> None:
        delay = running.backoff.after_death(now=now, uptime=now - running.started_at)
        running.start_at = now + delay
        name = running.part.name
        if running.backoff.keeps_dying:
            log.error("%s KEEPS DYING (%s). Look at its messages above; trying again in %.0f s.", name, how, delay)
        else:
            log.warning("%s ended unexpectedly (%s); starting it again in %.1f s.", name, how, delay)

    # --- Stopping -------------------------------------------------------------------------------------------

    def stop(self, signals: Signals) -> None:
        """Stops the parts in order, each within its share and whatever the ones before it left over.

        A further signal ends them all at once.
        """
        self._say(f"Stopping {', '.join(r.part.name for r in self.stop_order)} …")
        asked_before = signals.stops_asked
        deadline = time.monotonic() + sum(running.part.stop_seconds for running in self.stop_order)
        for position, running in enumerate(self.stop_order):
            kept = sum(later.part.stop_seconds for later in self.stop_order[position + 1 :])
            running.ask_to_stop()
            self._await_end(running, signals, deadline - kept, asked_before)
        self._say("Stopped.")

    def _await_end(self, running: RunningPart, signals: Signals, until: float, asked_before: int) -> None:
        while running.is_running:
            left = until - time.monotonic()
            if left <= 0 or signals.stops_asked > asked_before:
                log.warning("%s did not stop in time and was killed.", running.part.name)
                running.kill()
                break
            signals.wait(min(left, IDLE_SECONDS))
        running.forget_process()
