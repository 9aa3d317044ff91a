"""The programs of this host and a ManagedProcess for each of their instances."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from programs.models import Host, Program

from .journal import ProcessKey
from .ports import Context
from .process import ManagedProcess


class ProcessRegistry:
    def __init__(self, host: Host, context: Context, on_change: Callable[[ProcessKey], None]) -> None:
        self.programs: dict[int, Program] = {}  # those of this host
        self.known_ids: set[int] = set()  # of the programs of all hosts
        self._host = host
        self._context = context
        self._on_change = on_change
        self._processes: dict[int, dict[int, ManagedProcess]] = {}  # program id → index → process

    def update(self, program: Program) -> None:
        """Takes a new or changed definition."""
        self.known_ids.add(program.pk)
        if self.is_local(program):
            self.programs[program.pk] = program
            for index in range(program.desired_instances):
                self.process(program, index)
        for process in self.instances(program.pk):
            process.redefine(program)

    def is_local(self, program: Program) -> bool:
        return program.host_id == self._host.pk or (program.host_id is None and self._host.is_default)

    def process(self, program: Program, index: int) -> ManagedProcess:
        """Creates it if it is missing."""
        instances = self._processes.setdefault(program.pk, {})
        if index not in instances:
            instances[index] = ManagedProcess(program, index, self._context, self._on_change)
        return instances[index]

    def find(self, key: ProcessKey) -> ManagedProcess | None:
        return self._processes.get(key[0], {}).get(key[1])

    def instances(self, program_id: int) -> list[ManagedProcess]:
        return list(self._processes.get(program_id, {}).values())

    def all_processes(self) -> Iterator[ManagedProcess]:
        return (process for instances in self._processes.values() for process in list(instances.values()))

    def is_obsolete(self, process: ManagedProcess) -> bool:
        """Whether it was scaled away, or its program removed or moved to another host."""
        program = process.program
        return (
            process.index >= program.desired_instances
            or program.removed_at is not None
            or not self.is_local(program)
        )

    def remove_process(self, process: ManagedProcess) -> None:
        del self._processes[process.program.pk][process.index]

    def remove_program(self, program_id: int) -> None:
        self.programs.pop(program_id, None)
        self._processes.pop(program_id, None)
