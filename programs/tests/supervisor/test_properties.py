"""Random sequences of actions, exits, faults, clock jumps and agent deaths, and what must hold after each.

MONITOR_TEST_EXAMPLES=5000 walks other sequences each time; without it the same ones are walked, in seconds.
"""

from __future__ import annotations

import os
import signal
from contextlib import ExitStack

from django.db import OperationalError
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from structlog.testing import capture_logs

from programs.models import Program
from programs.states import Action, State
from programs.supervisor.platform import Exit
from programs.supervisor.ports import LaunchError

from .machine import FakeProcess
from .memory_database import assert_each_run_ends_once, assert_legal, transitions
from .world import LIMIT, World

EXAMPLES = int(os.environ.get("MONITOR_TEST_EXAMPLES", "0"))
PROFILE = settings(
    max_examples=EXAMPLES or 80,
    stateful_step_count=30,
    derandomize=not EXAMPLES,
    database=None,
    phases=tuple(Phase) if EXAMPLES else (Phase.generate,),  # shrinking may take minutes
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
TERM = signal.SIGTERM
PROBE = {"kind": "tcp", "target": "127.0.0.1:80", "purpose": "liveness"}
NUMBERS = st.integers(0, 2)  # of the programs that things are done to
EXITS = st.sampled_from([Exit(code=0), Exit(code=1), Exit(code=3), Exit(signal="SIGSEGV"), Exit(signal="SIGKILL")])
LAUNCH_FAULTS = st.sampled_from(
    [LaunchError("busy", is_permanent=False), LaunchError("no such file"), TypeError("a fault of ours")]
)
# Log events that report an exception the agent did not expect.
FAULTS_OF_OURS = {"agent.program_failed", "program.exit_failed", "program.stop_failed", "program.start_failed"}


class AgentUnderFire(RuleBasedStateMachine):
    """Three programs that everything happens to, and `steady`, which must always run while an agent does."""

    def __init__(self) -> None:
        super().__init__()
        self._stack = ExitStack()
        self._logs = self._stack.enter_context(capture_logs())
        self.world = World()
        self.world.machine.prepare = self._prepare
        self.world.start_agent()
        self.ignores_sigterm = False
        self.has_code_faults = False
        self.has_watch_faults = False

    def _prepare(self, process: FakeProcess) -> None:
        if self.ignores_sigterm and process.key[0] != self.steady.pk:
            process.ignores.add(TERM)

    @initialize(
        policies=st.tuples(*[st.sampled_from(["always", "on-failure", "never"])] * 3),
        max_restarts=st.integers(0, 3),
        instances=st.integers(1, 2),
        start_seconds=st.sampled_from([0, 1]),
    )
    def define(self, policies: tuple[str, ...], max_restarts: int, instances: int, start_seconds: float) -> None:
        self.steady = self.world.define("steady", stable_seconds=0, max_restarts=0, start_seconds=0)
        self.programs = [
            self.world.define(
                f"program {number}",
                restart_policy=policy,
                max_restarts=max_restarts,
                instances_min=instances,
                start_seconds=start_seconds,
                backoff_max=8,
                success_exit_codes=[0, 3],
                max_memory_bytes=LIMIT,
                probes=[PROBE] if number else [],
                stop_ladder=[{"step": "signal:TERM", "seconds": 5}],
            )
            for number, policy in enumerate(policies)
        ]
        self.world.advance()

    def _present(self, number: int) -> Program | None:
        program = self.programs[number]
        return None if program.removed_at else program

    def _live(self, number: int, index: int) -> FakeProcess | None:
        return next(iter(self.world.machine.live((self.programs[number].pk, index))), None)

    # --- What people do ---

    @rule(number=NUMBERS, action=st.sampled_from(list(Action)))
    def act(self, number: int, action: Action) -> None:
        if program := self._present(number):
            self.world.act(program, action)
            self.world.advance(0)

    @rule(number=NUMBERS, instances=st.integers(1, 3))
    def scale(self, number: int, instances: int) -> None:
        if program := self._present(number):
            self.world.save(program, desired_instances=instances)
            self.world.advance(0)

    @rule(number=NUMBERS, policy=st.sampled_from(["always", "on-failure", "never"]), has_probes=st.booleans())
    def redefine(self, number: int, policy: str, has_probes: bool) -> None:
        if program := self._present(number):
            self.world.save(program, restart_policy=policy, probes=[PROBE] if has_probes else [])
            self.world.advance(0)

    @rule(condition=st.sampled_from(["started", "healthy"]))
    def require(self, condition: str) -> None:
        """Program 2 requires program 1."""
        required, program = self.programs[1:]
        if not (required.removed_at or program.removed_at):
            self.world.database.dependencies[program.pk] = [(required.pk, condition)]
            self.world.save(program)

    @rule(number=NUMBERS)
    def remove(self, number: int) -> None:
        if program := self._present(number):
            self.world.database.dependencies.clear()
            self.world.remove(program)
            self.world.advance(0)

    # --- What happens to programs ---

    @rule(number=NUMBERS, index=st.integers(0, 1), ended=EXITS)
    def exit(self, number: int, index: int, ended: Exit) -> None:
        if process := self._live(number, index):
            process.exit(ended.code, ended.signal)
            # A process that could not be watched when it was adopted is looked at again after a second.
            self.world.advance(1.1 if self.has_watch_faults else 0)

    @rule(ended=EXITS)
    def exit_steady(self, ended: Exit) -> None:
        self.world.save(self.steady, restart_policy="always")
        self.world.advance(0)
        self.world.exit(self.steady, ended)
        self.world.advance(0)

    @rule(number=NUMBERS, fault=LAUNCH_FAULTS)
    def break_launch(self, number: int, fault: Exception) -> None:
        self.has_code_faults |= isinstance(fault, TypeError)
        self.world.machine.launch_faults[self.programs[number].pk] = fault

    @rule(number=NUMBERS)
    def break_watching(self, number: int) -> None:
        self.has_watch_faults = True
        self.world.machine.unwatchable.add(self.programs[number].pk)

    @rule(number=NUMBERS, ended=EXITS)
    def exit_at_once(self, number: int, ended: Exit) -> None:
        self.world.machine.exits_at_once[self.programs[number].pk] = ended

    @rule(number=NUMBERS)
    def mend(self, number: int) -> None:
        key = self.programs[number].pk
        self.world.machine.launch_faults.pop(key, None)
        self.world.machine.unwatchable.discard(key)
        self.world.machine.exits_at_once.pop(key, None)
        self.world.machine.unprobeable.discard(key)

    @rule(number=NUMBERS)
    def spoil_probes(self, number: int) -> None:
        self.world.machine.unprobeable.add(self.programs[number].pk)

    @rule(number=NUMBERS, index=st.integers(0, 1), is_healthy=st.booleans())
    def probe(self, number: int, index: int, is_healthy: bool) -> None:
        prober = self.world.machine.probers.get((self.programs[number].pk, index))
        if prober and prober.is_running:
            prober.report("healthy" if is_healthy else "unhealthy", "no answer", restart=not is_healthy)
            self.world.advance(0)

    @rule(number=NUMBERS)
    def exceed_memory(self, number: int) -> None:
        self.world.exceed_memory(self.programs[number])
        self.world.advance(0)

    @rule(number=NUMBERS, leaves_session=st.booleans())
    def fork(self, number: int, leaves_session: bool) -> None:
        """A child that outlives its parent unless somebody kills it."""
        if process := self._live(number, 0):
            child = self.world.machine.spawn((0, 0), process.marker)
            child.session = child.pid if leaves_session else process.pid

    @rule(ignores=st.booleans())
    def ignore_sigterm(self, ignores: bool) -> None:
        self.ignores_sigterm = ignores

    @rule()
    def run_out_of_memory(self) -> None:
        self.world.machine.oom_count += 1

    # --- Time ---

    @rule(seconds=st.sampled_from([0.002, 0.01, 0.05, 0.6, 2, 7, 30]))
    def wait(self, seconds: float) -> None:
        self.world.advance(seconds)

    @rule(seconds=st.sampled_from([-86_400, -3600, 3600, 86_400]))
    def move_clock(self, seconds: float) -> None:
        self.world.clock_shift += seconds

    @rule(random=st.floats(0, 1))
    def throw_dice(self, random: float) -> None:
        self.world.random = random

    # --- The agent and its database ---

    @rule()
    def kill_agent(self) -> None:
        self.world.kill_agent()
        self.world.start_agent()

    @rule(number=NUMBERS, index=st.integers(0, 1), ended=EXITS)
    def exit_while_no_agent_runs(self, number: int, index: int, ended: Exit) -> None:
        self.world.kill_agent()
        self.exit(number, index, ended)
        self.world.start_agent()

    @rule(puts=st.integers(0, 4), number=NUMBERS, action=st.sampled_from(list(Action)))
    def kill_agent_in_the_middle(self, puts: int, number: int, action: Action) -> None:
        """It dies before its next journal entry, or one of those after; what it did until then is done."""
        self.world.puts_until_death = puts
        self.act(number, action)
        self.world.advance(0.1)
        if self.world.supervisor is not None:
            self.world.kill_agent()
        self.world.start_agent()

    @rule()
    def stop_agent(self) -> None:
        self.world.stop_agent()
        self.world.start_agent()

    @rule()
    def reboot(self) -> None:
        self.world.kill_agent()
        self.world.machine.reboot()
        self.world.start_agent()

    @rule(seconds=st.sampled_from([0.5, 5]))
    def lose_database(self, seconds: float) -> None:
        self.world.database.fault = OperationalError("gone")
        self.world.advance(seconds)
        self.world.database.fault = None
        self.world.advance(1.1)

    # --- What must hold ---

    @invariant()
    def rows_match_the_machine(self) -> None:
        self.world.advance(0)
        self.world.check()

    @precondition(lambda self: hasattr(self, "steady"))
    @invariant()
    def a_fault_of_one_program_stops_no_other(self) -> None:
        self.world.advance(0)
        assert len(self.world.machine.live((self.steady.pk, 0))) == 1

    @invariant()
    def the_agent_expects_everything(self) -> None:
        if not self.has_code_faults:
            assert [line for line in self._logs if line["event"] in FAULTS_OF_OURS] == []

    @invariant()
    def every_transition_is_legal_and_every_event_recorded_once(self) -> None:
        entries = self.world.database.entries
        for key in {(e["process"][0], e["process"][1]) for e in entries if e["process"]}:
            for transition in transitions(entries, key):
                assert_legal(transition)
            assert_each_run_ends_once(entries, key)
        uids = [entry["event"]["uid"] for entry in entries if entry["event"]]
        assert len(uids) == len(set(uids))

    def teardown(self) -> None:
        try:
            if hasattr(self, "steady"):
                self._reach_the_desired_state()
                self._remove_everything()
            self.world.stop_agent()
        finally:
            self._stack.close()

    def _reach_the_desired_state(self) -> None:
        self.ignores_sigterm = False
        for number in range(3):
            self.mend(number)
        for process in self.world.machine.live():
            process.ignores.clear()
        *started, stopped = [program for program in self.programs if not program.removed_at] or [self.steady]
        for program in started:
            self.world.act(program, Action.START)
        self.world.act(stopped, Action.STOP)
        self.world.advance(1.5)
        for program in started:
            self.report_healthy(program)
        self.world.advance(30)
        assert not self.world.machine.live((stopped.pk, 0))
        for program in started:
            for index in range(program.desired_instances):
                assert self.world.row(program, index)["state"] == State.RUNNING, self.world.row(program, index)

    def report_healthy(self, program: Program) -> None:
        for index in range(program.desired_instances):
            prober = self.world.machine.probers.get((program.pk, index))
            if prober and prober.is_running:
                prober.report("healthy")

    def _remove_everything(self) -> None:
        self.world.database.dependencies.clear()
        for program in [*self.programs, self.steady]:
            if not program.removed_at:
                self.world.remove(program)
        self.world.advance(30)
        assert (self.world.machine.live(), self.world.database.rows, self.world.database.programs) == ([], {}, {})


AgentUnderFire.TestCase.settings = PROFILE
TestAgentUnderFire = AgentUnderFire.TestCase
