"""How the situations, actions and outcomes of the transition table are brought about."""

from __future__ import annotations

import signal
from collections.abc import Callable
from typing import Any

from programs.models import Program
from programs.states import Action
from programs.supervisor.platform import Exit

from .machine import FakeProcess
from .world import LIMIT, World

STEP_SECONDS = 20  # of SIGTERM
DELAY = 10  # of the backoff
MAX_DELAY = 12
PROBE = {"kind": "tcp", "target": "127.0.0.1:80", "purpose": "liveness"}
FIELDS: dict[str, Any] = {
    "start_seconds": 0.5,
    "backoff_initial": DELAY,
    "backoff_factor": 1,
    "backoff_max": MAX_DELAY,
    "backoff_jitter": 0,
    "restart_policy": "always",
    "success_exit_codes": [0, 3],
    "max_memory_bytes": LIMIT,
    "stop_ladder": [{"step": "signal:TERM", "seconds": STEP_SECONDS}],
    "probes": [PROBE],
}


def ignore_sigterm(process: FakeProcess) -> None:
    process.ignores.add(signal.SIGTERM)


class Scenario:
    """One program, `web`, and another that it may depend on."""

    def __init__(self, situation: str, policy: str) -> None:
        self.world = world = World()
        world.start_agent()
        world.machine.prepare = ignore_sigterm
        self.other = world.define("db", desired=False, start_seconds=0)
        self.web = world.define("web", desired=situation not in ("stopped", "blocked"), **FIELDS)
        SITUATIONS[situation](self)
        # Every later start stays in `starting`, where it can be seen.
        world.save(self.web, restart_policy=policy, start_seconds=30)
        world.advance()
        self._seen = len(world.events(self.web))

    def new_events(self) -> list[str]:
        events = self.world.events(self.web)[self._seen :]
        self._seen += len(events)
        return events

    def state(self) -> str:
        """`gone` without a row; a program that never ran and is not removed has none and is stopped."""
        row = self.world.database.rows.get((self.web.pk, 0))
        if row is None:
            never_ran = self.web.pk in self.world.database.programs and self.web.desired_instances
            return "stopped" if never_ran else "gone"
        return str(row["state"])

    def act(self, action: Action) -> None:
        self.world.act(self.web, action)

    def save(self, **fields: Any) -> None:
        self.world.save(self.web, **fields)

    def exit(self, code: int | None = None, signal: str | None = None) -> None:
        self.world.exit(self.web, Exit(code, signal))

    # --- Situations ---

    def crash(self) -> None:
        self.exit(code=1)
        self.world.advance()

    def run(self) -> None:
        self.world.advance(1)

    def back_off(self) -> None:
        self.run()
        self.crash()
        self.crash()

    def stop(self) -> None:
        self.run()
        self.act(Action.STOP)

    def restart(self) -> None:
        self.run()
        self.act(Action.RESTART)

    def fail_liveness(self) -> None:
        self.run()
        self.world.fail_liveness(self.web)

    def exit_well(self) -> None:
        self.save(restart_policy="never")
        self.run()
        self.exit(code=0)

    def fail_for_good(self) -> None:
        self.run()
        self.world.fail_launch(self.web, is_permanent=True)
        self.crash()
        self.world.machine.launch_faults.clear()

    def block(self) -> None:
        self.world.require(self.web, self.other)

    def block_and_start(self) -> None:
        self.block()
        self.act(Action.START)

    def start_slowly(self) -> None:
        self.save(start_seconds=30)

    # --- Actions ---

    def exceed_memory(self) -> None:
        self.world.exceed_memory(self.web)

    def reach_schedule(self) -> None:
        self.save(restart_cron="0 * * * *")
        self.world.advance(1.5)
        self.world.clock_shift += 3600
        self.world.advance(1.1)

    def restart_agent(self) -> None:
        self.world.kill_agent()
        self.world.start_agent()

    def stop_agent(self) -> None:
        self.world.stop_agent()
        self.world.start_agent()

    def reboot(self) -> None:
        self.world.kill_agent()
        self.world.machine.reboot()
        self.world.start_agent()

    def unblock(self) -> None:
        self.world.act(self.other, Action.START)

    # --- Outcomes ---

    def run_out_of_memory(self) -> None:
        self.world.machine.oom_count += 1
        self.exit(signal="SIGKILL")

    def exit_unseen(self) -> None:
        self.world.kill_agent()
        self.exit(code=0)
        self.world.start_agent()

    def stop_while_away(self, *, exits: bool = False) -> None:
        self.world.kill_agent()
        if exits:
            self.exit(code=0)
        self.act(Action.STOP)
        self.world.start_agent()

    def crash_twice(self) -> None:
        self.crash()
        if self.world.machine.live((self.web.pk, 0)):
            self.crash()

    def crash_too_often(self) -> None:
        self.save(max_restarts=1)
        self.crash_twice()

    def let_pass(self) -> None:
        """Longer than every delay of a definition."""
        self.world.advance(MAX_DELAY + STEP_SECONDS - 5)

    def be_untouchable(self) -> None:
        self.world.live(self.web).can_be_signalled = False
        self.world.advance(100)

    def with_fault(self, set_fault: Callable[[], None]) -> Callable[[], None]:
        """The fault, and then whatever leads to the next start."""

        def lead_to_start() -> None:
            set_fault()
            if self.world.machine.live((self.web.pk, 0)):
                self.exit(code=1)
            else:
                self.world.advance(DELAY)

        return lead_to_start

    def move_clock(self, seconds: float) -> None:
        self.world.clock_shift += seconds
        self.let_pass()

    def restart_agent_with_clock_set_back(self) -> None:
        self.world.kill_agent()
        self.world.clock_shift -= 3600
        self.world.start_agent()
        self.let_pass()

    def perform(self, action: str) -> None:
        ACTIONS[action](self)
        self.world.advance()

    def bring_about(self, outcome: str) -> None:
        OUTCOMES[outcome](self)
        self.world.advance()


SITUATIONS: dict[str, Callable[[Scenario], None]] = {
    "stopped": lambda scenario: None,
    "blocked": Scenario.block_and_start,
    "starting": Scenario.start_slowly,
    "running": Scenario.run,
    "backoff": Scenario.back_off,
    "stopping": Scenario.stop,
    "restarting": Scenario.restart,
    "failing": Scenario.fail_liveness,
    "exited": Scenario.exit_well,
    "fatal": Scenario.fail_for_good,
}
ACTIONS: dict[str, Callable[[Scenario], None]] = {
    **{action.value: (lambda scenario, action=action: scenario.act(action)) for action in Action},  # type: ignore[misc]
    "over-memory": Scenario.exceed_memory,
    "schedule": Scenario.reach_schedule,
    "liveness": lambda scenario: scenario.world.fail_liveness(scenario.web),
    "redefine": lambda scenario: scenario.save(description="the shop"),
    "new-probes": lambda scenario: scenario.save(probes=[{**PROBE, "target": "127.0.0.1:81"}]),
    "block": Scenario.block,
    "unblock": Scenario.unblock,
    "remove": lambda scenario: scenario.world.remove(scenario.web),
    "scale-away": lambda scenario: scenario.save(desired_instances=0),
    "move": lambda scenario: scenario.save(host=scenario.world.other_host),
    "agent-killed": Scenario.restart_agent,
    "agent-stopped": Scenario.stop_agent,
    "reboot": Scenario.reboot,
    "wait": lambda scenario: scenario.world.advance(30),
}
OUTCOMES: dict[str, Callable[[Scenario], None]] = {
    "exit-0": lambda scenario: scenario.exit(code=0),
    "exit-3-is-success": lambda scenario: scenario.exit(code=3),
    "exit-1": lambda scenario: scenario.exit(code=1),
    "signal": lambda scenario: scenario.exit(signal="SIGSEGV"),
    "out-of-memory": Scenario.run_out_of_memory,
    "unseen": Scenario.exit_unseen,
    "stop-while-away": Scenario.stop_while_away,
    "unseen-and-stop": lambda scenario: scenario.stop_while_away(exits=True),
    "second-crash": Scenario.crash_twice,
    "too-many": Scenario.crash_too_often,
    "start-fails": lambda scenario: scenario.with_fault(lambda: scenario.world.fail_launch(scenario.web))(),
    "start-impossible": lambda scenario: scenario.with_fault(
        lambda: scenario.world.fail_launch(scenario.web, is_permanent=True)
    )(),
    "cannot-be-watched": lambda scenario: scenario.with_fault(
        lambda: scenario.world.machine.unwatchable.add(scenario.web.pk)
    )(),
    "exits-at-once": lambda scenario: scenario.with_fault(
        lambda: scenario.world.machine.exits_at_once.update({scenario.web.pk: Exit(code=1)})
    )(),
    "steps-are-over": Scenario.let_pass,
    "cannot-be-signalled": Scenario.be_untouchable,
    "time": Scenario.let_pass,
    "clock-an-hour-back": lambda scenario: scenario.move_clock(-3600),
    "clock-an-hour-on": lambda scenario: scenario.move_clock(3600),
    "agent-and-clock": Scenario.restart_agent_with_clock_set_back,
    "agent-killed": Scenario.restart_agent,
    "unblock": Scenario.unblock,
}
# How the row says that the process ended, for outcomes after which nothing was started.
EXIT_COLUMNS: dict[str, tuple[int | None, str | None]] = {
    "exit-0": (0, None),
    "exit-3-is-success": (3, None),
    "exit-1": (1, None),
    "signal": (None, "SIGSEGV"),
    "out-of-memory": (None, "SIGKILL"),
    "unseen": (None, None),
    "unseen-and-stop": (None, None),
    "second-crash": (1, None),
    "too-many": (1, None),
    "steps-are-over": (None, "SIGKILL"),
}


def of_program(program: Program, entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [entry for entry in entries if entry["process"] and entry["process"][0] == program.pk]
