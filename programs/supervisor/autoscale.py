"""Scales programs by load: compares the mean CPU per instance with `scale_cpu_percent`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from programs.models import Program
from programs.policy import Scaling, desired_instances
from programs.states import State

from .journal import ProcessKey
from .process import ManagedProcess

DECIDE_SECONDS = 15.0


@dataclass
class Load:
    """CPU samples of one program since the last decision."""

    since: float
    sums: dict[ProcessKey, float] = field(default_factory=dict)
    counts: dict[ProcessKey, int] = field(default_factory=dict)

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
        return program.scale_cpu_percent is not None or program.pk in self._loads

    def decide(self, program: Program, processes: Iterable[ManagedProcess], now: float) -> int | None:
        """Takes one sample; returns the new number of instances when one is due and differs."""
        if not program.scale_cpu_percent or program.desired_state != Program.Desired.RUNNING:
            self._loads.pop(program.pk, None)
            return None
        load = self._loads.setdefault(program.pk, Load(now))
        running = [process for process in processes if process.state is State.RUNNING]
        for process in running:
            load.add(process)
        # While instances start or stop their load says nothing about the next step.
        if now - load.since < DECIDE_SECONDS or len(running) != program.desired_instances:
            return None
        self._loads[program.pk] = Load(now)
        scaling = Scaling(program.scale_cpu_percent, program.instances_min, program.instances_max)
        instances = desired_instances(scaling, len(running), load.total())
        return instances if instances != program.desired_instances else None
