"""Keeps the processes of this host in their desired state.

Level-triggered: reconciling compares states, so a missed notification is made up for at the next read. Everything
runs in one event loop and nothing here blocks.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Iterator, Mapping
from functools import partial
from typing import TypeVar

import structlog
from django.db import Error as DatabaseFault

from core import doorbell
from core.timeformat import local_time
from programs.logs.rotate import LogLimits
from programs.models import Host, Intent, Program
from programs.states import Action, State

from .adopt import Adoption
from .autoscale import Autoscaler
from .cron import CronSchedule
from .desired_state import Dependencies, DesiredState
from .fault_isolation import isolate_faults
from .journal import Entry, ProcessKey
from .platform import Identity
from .ports import Context, Database, WakeUps
from .process import ManagedProcess
from .registry import ProcessRegistry
from .run import Run, Usage
from .state_machine import make_event
from .stopping import kill_tree

log = structlog.get_logger(__name__)

POLL_SECONDS = 1.0
READ_RETRY_SECONDS = 1.0
JOURNAL_CLOSE_SECONDS = 5.0
T = TypeVar("T")


class StoppedError(Exception):
    """The agent has to stop while it waits for the database."""


async def _set_after(stop: asyncio.Event, wake_up: asyncio.Event) -> None:
    await stop.wait()
    wake_up.set()


class Supervisor:
    """`run` it until the stop event. Programs outlive it, unless `stop_programs` was called before."""

    def __init__(self, host: Host, context: Context, database: Database, wake_ups: WakeUps) -> None:
        self.host = host
        self.journal = context.journal
        self.registry = ProcessRegistry(host, context, self._process_changed)
        self._context = context
        self._database = database
        self._wake_ups = wake_ups
        self._dependencies: Dependencies = {}
        self._cron = CronSchedule()
        self._autoscaler = Autoscaler()
        self._revision = -1
        self._handled: set[int] = set()  # intents that are carried out, but maybe not deleted yet
        self._closing = False
        self._stop = asyncio.Event()
        self._changed_programs: set[int] = set()
        self._kill_tasks: set[asyncio.Task[int]] = set()

    # --- Start and end ----------------------------------------------------------------------------------

    async def run(self, stop: asyncio.Event) -> None:
        """Adopts running processes, then follows the desired state until `stop`.

        Raises RuntimeError when the journal's writer has died: a new agent is better than one without a record.
        """
        self._stop = stop
        async with self._wake_ups() as wake_up:
            wake_at_stop = asyncio.create_task(_set_after(stop, wake_up))
            try:
                await self._begin()
                while not stop.is_set():
                    await self._follow_desired_state()
                    self._restart_scheduled()
                    await doorbell.wait(wake_up, POLL_SECONDS)
                    if not self.journal.is_writing:
                        raise RuntimeError("the journal's writer has ended")
            except StoppedError:
                log.info("agent.stopped_without_a_database")
            finally:
                wake_at_stop.cancel()
                self._end()

    async def _begin(self) -> None:
        left = self.journal.start()
        while self.journal.pending:  # adoption compares the rows with reality, so they must be complete
            await self._pause(0.01)
        rows = await self._retry(self._database.process_rows)
        changes = await self._retry(partial(self._database.desired_state, -1))
        snapshot = await self._context.scanner.scan()
        self._update_definitions(changes)
        for program in changes.programs:
            self._set_desired(program)
        requested = {i.program_id for i in changes.intents if i.verb in (Action.START, Action.RESTART)}
        adopted = Adoption(self.registry, self._context, snapshot, requested, self._end_run).run(rows)
        log.info("agent.started", host=self.host.name, adopted=adopted, entries_caught_up=left)
        data = {"host": self.host.name, "adopted": adopted, "pid": os.getpid()}
        self.journal.put(Entry(event=make_event("agent.started", self._context.wall_clock(), data)))
        self._apply(changes)

    def _end(self) -> None:
        self._closing = True
        for process in self.registry.all_processes():
            process.detach()
        # Without a clean stop the heartbeat counts as lost, unless another agent starts soon.
        stopped_at = self._context.wall_clock() if self._stop.is_set() else None
        if not self.journal.close(JOURNAL_CLOSE_SECONDS, stopped_at):
            log.warning("agent.stopped_with_unwritten_entries", entries=self.journal.pending)
        self._database.close()

    async def stop_programs(self) -> None:
        """Stops everything, dependents first. The desired state stays: the next agent starts it all again."""
        self._closing = True
        for process in self.registry.all_processes():
            process.desired = False
            if not process.is_alive:
                process.reconcile()
        while alive := [p for p in self.registry.all_processes() if p.is_alive]:
            required = {pk for p in alive for pk, _ in self._dependencies.get(p.program.pk, ())}
            for process in alive:
                if process.program.pk not in required or process.state is State.STOPPING:
                    process.reconcile()
            await asyncio.sleep(0.02)

    # --- Desired state ----------------------------------------------------------------------------------

    async def _retry(self, query: Callable[[], Awaitable[T]]) -> T:
        """Raises StoppedError when the agent is stopped before the database is back."""
        while True:
            try:
                return await query()
            except DatabaseFault as error:
                log.warning("agent.database_unavailable", error=str(error))
                await self._pause(READ_RETRY_SECONDS)

    async def _pause(self, seconds: float) -> None:
        try:
            await asyncio.wait_for(self._stop.wait(), seconds)
        except TimeoutError:
            return
        raise StoppedError

    async def _follow_desired_state(self) -> None:
        changes = await self._retry(partial(self._database.desired_state, self._revision, self._handled))
        self._update_definitions(changes)
        self._apply(changes)

    def _update_definitions(self, changes: DesiredState) -> None:
        self._revision = changes.revision
        if changes.dependencies is not None:
            self._dependencies = changes.dependencies
        for program in changes.programs:
            self._update_definition(program)

    def _update_definition(self, program: Program) -> None:
        self.registry.update(program)
        self._cron.set(program.pk, program.restart_cron)

    def _apply(self, changes: DesiredState) -> None:
        for program in changes.programs:
            self._set_desired(program)
        self._handled &= {intent.pk for intent in changes.intents}
        for intent in changes.intents:
            if intent.pk not in self._handled:
                self._handled.add(intent.pk)
                with isolate_faults(intent.program_id, self.registry.programs):
                    self._handle_intent(intent)
        for program in changes.programs:
            self._reconcile(program.pk)

    def _set_desired(self, program: Program) -> None:
        is_desired = (
            program.desired_state == Program.Desired.RUNNING
            and not program.removed_at
            and self.registry.is_local(program)
            and not self._closing
        )
        for process in self.registry.instances(program.pk):
            process.desired = is_desired and process.index < program.desired_instances

    def _handle_intent(self, intent: Intent) -> None:
        self.journal.put(Entry(intents=[intent.pk]))
        self._update_blocked_by(intent.program_id)
        INTENT_HANDLERS.get(intent.verb, Supervisor._apply_action)(self, intent)

    def _apply_action(self, intent: Intent) -> None:
        for process in self.registry.instances(intent.program_id):
            process.apply(Action(intent.verb), intent.actor)

    def _adopt(self, intent: Intent) -> None:
        """Makes a process that somebody else started the program's first instance."""
        process = self.registry.process(self.registry.programs[intent.program_id], 0)
        identity = Identity(intent.data["pid"], intent.data["kernel_start"], intent.data["boot_id"])
        process.actor = intent.actor
        try:
            process.adopt(Run(identity, "", self._context.system), State.RUNNING)
        except ProcessLookupError:
            why = f"process {identity.pid} ended before it could be adopted"
            process.record_event("program.exited", {"why": why})
            return
        process.desired = True
        self.journal.put(Entry(process.key, desired=Program.Desired.RUNNING.value))

    def _write_console(self, intent: Intent) -> None:
        for process in self.registry.instances(intent.program_id):
            if not process.is_alive:
                continue
            data = dict(intent.data)
            try:
                self._context.launcher.write_console(*process.key, str(intent.data["text"]))
            except OSError as error:
                data["error"] = error.strerror or str(error)
            process.record_event("program.input", data, intent.actor)

    def _reconcile(self, program_id: int) -> None:
        self._update_blocked_by(program_id)
        for process in self.registry.instances(program_id):
            with isolate_faults(program_id, self.registry.programs):
                process.reconcile()
                self._remove_if_obsolete(process)
        program = self.registry.programs.get(program_id)
        if program and program.removed_at and not self.registry.instances(program_id):
            self._remove_program(program)

    # --- Dependencies -----------------------------------------------------------------------------------

    def _update_blocked_by(self, program_id: int) -> None:
        blocked_by = next(self._unmet_dependencies(program_id), "")
        for process in self.registry.instances(program_id):
            process.blocked_by = blocked_by

    def _unmet_dependencies(self, program_id: int) -> Iterator[str]:
        for required_id, condition in self._dependencies.get(program_id, ()):
            required = self.registry.instances(required_id)
            if not required or not all(CONDITIONS[condition](process) for process in required):
                program = self.registry.programs.get(required_id)
                name = program.name if program else f"program {required_id}"
                yield f"waits for {name} to be {condition}"

    def _process_changed(self, key: ProcessKey) -> None:
        """Schedules a reconcile of its program and dependents.

        Once for all changes of one loop iteration: a program may have a thousand instances.
        """
        if not self._closing:
            if not self._changed_programs:
                self._context.timers.call_soon(self._reconcile_changed)
            self._changed_programs.add(key[0])

    def _reconcile_changed(self) -> None:
        changed, self._changed_programs = self._changed_programs, set()
        dependents = {
            program_id
            for program_id, required in self._dependencies.items()
            if any(pk in changed for pk, _ in required)
        }
        for program_id in changed | dependents:
            self._reconcile(program_id)

    # --- Removal ----------------------------------------------------------------------------------------

    def _remove_if_obsolete(self, process: ManagedProcess) -> None:
        if process.state is not State.STOPPED or not self.registry.is_obsolete(process):
            return
        self.registry.remove_process(process)
        self._context.launcher.remove_console(*process.key)
        if self.registry.is_local(process.program):
            self.journal.put(Entry(process.key, removed="process"))
        else:  # the row now belongs to the agent of its new host
            self.registry.programs.pop(process.program.pk, None)

    def _remove_program(self, program: Program) -> None:
        self.registry.remove_program(program.pk)
        self._autoscaler.forget(program.pk)
        self._cron.set(program.pk, "")
        self.journal.put(Entry((program.pk, 0), removed="program"))
        self._context.launcher.remove_files(program.pk)

    def _end_run(self, run: Run) -> None:
        """Kills a process that must not run, with its tree."""
        work = kill_tree(self._context, run.identity, run.marker, [run.identity])
        task = self._context.timers.create_task(work)
        self._kill_tasks.add(task)
        task.add_done_callback(self._kill_tasks.discard)

    # --- Schedule, samples and heartbeat ----------------------------------------------------------------

    def _restart_scheduled(self) -> None:
        for program_id in self._cron.due(local_time(self._context.wall_clock())):
            for process in self.registry.instances(program_id):
                process.restart("restart schedule")

    def heartbeat(self) -> None:
        self.journal.heartbeat(self._context.wall_clock())
        self._context.out_of_memory.poll()

    def observe(self, usages: Mapping[ProcessKey, Usage]) -> None:
        """Takes new samples; processes without one keep the last."""
        for key, usage in usages.items():
            process = self.registry.find(key)
            if process and process.needs_usage(usage):
                process.update_usage(usage)
        self.journal.flush_latest()
        for program in filter(self._autoscaler.concerns, list(self.registry.programs.values())):
            processes = self.registry.instances(program.pk)
            instances = self._autoscaler.decide(program, processes, self._context.system.now())
            if instances is not None:
                self._scale(program, instances)

    def _scale(self, program: Program, instances: int) -> None:
        data = {"from": program.desired_instances, "to": instances, "why": "CPU"}
        event = make_event("program.scaled", self._context.wall_clock(), data)
        self.journal.put(Entry((program.pk, 0), event=event, instances=instances))
        program.desired_instances = instances
        self._update_definition(program)
        self._set_desired(program)
        self._reconcile(program.pk)

    def runs(self) -> dict[ProcessKey, Run]:
        return {process.key: process.run for process in self.registry.all_processes() if process.run}

    def logs(self) -> list[LogLimits]:
        """The logs to rotate: those of every instance, running or not."""
        return [
            LogLimits(process.log_file, program.log_max_bytes, program.log_backups, program.log_compress)
            for process in self.registry.all_processes()
            for program in (process.program,)
        ]


INTENT_HANDLERS: dict[str, Callable[[Supervisor, Intent], None]] = {
    "input": Supervisor._write_console,
    "adopt": Supervisor._adopt,
}
CONDITIONS: dict[str, Callable[[ManagedProcess], bool]] = {
    "started": lambda process: process.state in (State.RUNNING, State.EXITED),
    "healthy": lambda process: process.is_ready,
}
