"""Scaling with load: the mean CPU of a program's instances against its `scale_cpu_percent`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from programs.models import Program
from programs.policy import Scaling, instances_wanted
from programs.states import State

from .journal import Key
from .process import ManagedProcess

DECIDE_SECONDS = 15.0


@dataclass
class Load:
    """Samples of one program since the last decision."""

    since: float
    sums: dict[Key, float] = field(default_factory=dict)
    counts: dict[Key, int] = field(default_factory=dict)

    def add(self, process: ManagedProcess) -> None:
        self.sums[process.key] = self.sums.get(process.key, 0.0) + process.usage.cpu_percent
        self.counts[process.key] = self.counts.get(process.key, 0) + 1

    def total(self) -> float:
        """Percent of one core, all instances together, as a mean over time."""
        return sum(total / self.counts[key] for key, total in self.sums.items())


class Autoscaler:
    """Decides every DECIDE_SECONDS how many instances a program should have."""

    def __init__(self) -> None:
        self._loads: dict[int, Load] = {}

    def forget(self, program_id: int) -> None:
        self._loads.pop(program_id, None)

    def concerns(self, program: Program) -> bool:
        """Whether `decide` has anything to do with it."""
        return program.scale_cpu_percent is not None or program.pk in self._loads

    def decide(self, program: Program, processes: Iterable[ManagedProcess], now: float) -> int | None:
        """Takes in a sample; the new number of instances when it is time and another one is better."""
        if not program.scale_cpu_percent or program.desired_state != Program.Desired.RUNNING:
            self._loads.pop(program.pk, None)
            return None
        load = self._loads.setdefault(program.pk, Load(now))
        running = [process for process in processes if process.state is State.RUNNING]
        for process in running:
            load.add(process)
        # While instances come or go their load says nothing about the next step.
        if now - load.since < DECIDE_SECONDS or len(running) != program.desired_instances:
            return None
        self._loads[program.pk] = Load(now)
        scaling = Scaling(program.scale_cpu_percent, program.instances_min, program.instances_max)
        wanted = instances_wanted(scaling, len(running), load.total())
        return wanted if wanted != program.desired_instances else None
