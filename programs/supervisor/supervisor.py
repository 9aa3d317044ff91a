"""Holds all processes of this host to what people want of them.

Level-triggered: whatever was missed, the next reading of the wishes puts right. One loop, nothing here blocks; the
database is read in one thread and written in another.
"""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import structlog
from django.conf import settings
from django.db import Error as DatabaseFault
from django.db import connection

from core import doorbell
from core.timeformat import local_time
from programs.logs.rotate import LogLimits
from programs.models import Host, Intent, Program
from programs.states import Action, State

from . import adopt, desired_state, launch, platform
from .autoscale import Autoscaler
from .cron import Timetable
from .journal import Entry, Journal, Key
from .platform import Identity
from .process import ManagedProcess
from .process_tree import Scanner
from .run import Run, Usage
from .state_machine import Context, told
from .stopping import clear_leftovers

log = structlog.get_logger(__name__)

POLL_SECONDS = 1.0
READ_RETRY_SECONDS = 1.0


class StoppedError(Exception):
    """The agent is to stop while it waits for the database."""


def _close_connection() -> None:
    """Closes the connection of the thread that calls this."""
    connection.close()


async def _ring_at(stop: asyncio.Event, bell: asyncio.Event) -> None:
    await stop.wait()
    bell.set()


class Supervisor:
    """The agent's heart. `run` until the stop event; programs outlive it unless `stop_programs` was called."""

    def __init__(self, host: Host, run_dir: Path) -> None:
        self.host = host
        self.programs: dict[int, Program] = {}  # those of this host
        self.known: set[int] = set()  # the ids of all hosts' programs
        self.processes: dict[int, dict[int, ManagedProcess]] = {}  # program id → index → process
        self.needs: desired_state.Needs = {}
        self.journal = Journal(run_dir / "journal", host, on_written=partial(doorbell.ring, "web"))
        self.scanner = Scanner()
        self.timetable = Timetable()
        self._autoscaler = Autoscaler()
        self._around = Context(self.journal, self.scanner, self._changed)
        self._revision = -1
        self._handled: set[int] = set()
        self._reader = ThreadPoolExecutor(max_workers=1, thread_name_prefix="reader")
        self._closing = False
        self._stop = asyncio.Event()
        self._to_follow_up: set[int] = set()
        self._endings: set[asyncio.Task[int]] = set()

    # --- Life -------------------------------------------------------------------------------------------

    async def run(self, stop: asyncio.Event) -> None:
        """Adopts what runs, then follows the wishes until `stop`. Entries not written by then stay in the file.

        Raises RuntimeError when nothing can be written any more: the next agent does better than one that forgets.
        """
        self._stop = stop
        async with doorbell.listen("agent") as bell:
            waking = asyncio.create_task(_ring_at(stop, bell))
            try:
                await self._begin()
                while not stop.is_set():
                    await self._follow_wishes()
                    self._keep_timetable()
                    await doorbell.wait(bell, POLL_SECONDS)
                    if not self.journal.is_writing:
                        raise RuntimeError("the journal's writer has ended")
            except StoppedError:
                log.info("agent.stopped_without_a_database")
            finally:
                waking.cancel()
                self._end()

    async def _begin(self) -> None:
        left = self.journal.start()
        while self.journal.pending:  # the rows must be whole before they are compared with reality
            await self._pause(0.01)
        rows = await self._read(partial(desired_state.processes, self.host))
        wanted = await self._read(partial(desired_state.read, self.host, -1))
        snapshot = await self.scanner.scan()
        self._take(wanted)
        for program in wanted.programs:
            self._set_desired(program)
        asked = {i.program_id for i in wanted.intents if i.verb in (Action.START, Action.RESTART)}
        adopted = adopt.Adoption(self, snapshot, asked).run(rows)
        log.info("agent.started", host=self.host.name, adopted=adopted, entries_caught_up=left)
        self._tell("agent.started", {"adopted": adopted, "pid": os.getpid()})
        self._act(wanted)

    def _end(self) -> None:
        self._closing = True
        for process in self.everyone():
            process.let_go()
        # Whoever falls without being asked to says no good-bye, and is told lost unless another comes soon.
        good_bye = datetime.now(UTC) if self._stop.is_set() else None
        if not self.journal.close(timeout=5, good_bye=good_bye):
            log.warning("agent.stopped_with_unwritten_entries", entries=self.journal.pending)
        self._reader.submit(_close_connection)
        self._reader.shutdown()

    async def stop_programs(self) -> None:
        """Stops everything, dependents before what they need. What is desired stays: the next agent starts it."""
        self._closing = True
        for process in self.everyone():
            process.desired = False
            if not process.is_alive:
                process.reconcile()
        while alive := [p for p in self.everyone() if p.is_alive]:
            needed = {requires for p in alive for requires, _ in self.needs.get(p.program.pk, ())}
            for process in alive:
                if process.program.pk not in needed or process.state is State.STOPPING:
                    process.reconcile()
            await asyncio.sleep(0.02)

    # --- Wishes -----------------------------------------------------------------------------------------

    async def _read(self, query: Any) -> Any:
        """Runs `query` in the reader thread, for as long as the database needs to be back."""
        loop = asyncio.get_running_loop()
        while True:
            try:
                return await loop.run_in_executor(self._reader, query)
            except DatabaseFault as error:
                log.warning("agent.database_unavailable", error=str(error))
                await loop.run_in_executor(self._reader, _close_connection)
                await self._pause(READ_RETRY_SECONDS)

    async def _pause(self, seconds: float) -> None:
        """Raises StoppedError as soon as the agent is to stop."""
        try:
            await asyncio.wait_for(self._stop.wait(), seconds)
        except TimeoutError:
            return
        raise StoppedError

    async def _follow_wishes(self) -> None:
        wanted = await self._read(partial(desired_state.read, self.host, self._revision, frozenset(self._handled)))
        self._take(wanted)
        self._act(wanted)

    def _take(self, wanted: desired_state.DesiredState) -> None:
        """Learns the new definitions without acting on them."""
        self._revision = wanted.revision
        if wanted.needs is not None:
            self.needs = wanted.needs
        for program in wanted.programs:
            self._learn(program)

    def _learn(self, program: Program) -> None:
        self.known.add(program.pk)
        if self._is_ours(program):
            self.programs[program.pk] = program
            for index in range(program.desired_instances):
                self.process_of(program, index)
        for process in self.of_program(program.pk):
            process.redefine(program)
        self.timetable.learn(program.pk, program.restart_cron)

    def process_of(self, program: Program, index: int) -> ManagedProcess:
        siblings = self.processes.setdefault(program.pk, {})
        if index not in siblings:
            siblings[index] = ManagedProcess(program, index, self._around)
        return siblings[index]

    def of_program(self, program_id: int) -> list[ManagedProcess]:
        return list(self.processes.get(program_id, {}).values())

    def everyone(self) -> Iterator[ManagedProcess]:
        return (process for siblings in self.processes.values() for process in list(siblings.values()))

    def _is_ours(self, program: Program) -> bool:
        return program.host_id == self.host.pk or (program.host_id is None and self.host.is_default)

    def _act(self, wanted: desired_state.DesiredState) -> None:
        for program in wanted.programs:
            self._set_desired(program)
        waiting = {intent.pk for intent in wanted.intents}
        self._handled &= waiting
        for intent in wanted.intents:
            if intent.pk not in self._handled:
                self._handled.add(intent.pk)
                with adopt.contained(intent.program_id, self.programs):
                    self._obey(intent)
        for program in wanted.programs:
            self._reconcile(program.pk)

    def _set_desired(self, program: Program) -> None:
        wanted = (
            program.desired_state == Program.Desired.RUNNING and not program.removed_at and self._is_ours(program)
        )
        for process in self.of_program(program.pk):
            process.desired = wanted and process.index < program.desired_instances and not self._closing

    def _obey(self, intent: Intent) -> None:
        self.journal.put(Entry(intents=[intent.pk]))
        self._look_at_needs(intent.program_id)
        _INTENTS.get(intent.verb, Supervisor._apply_verb)(self, intent)

    def _apply_verb(self, intent: Intent) -> None:
        for process in self.of_program(intent.program_id):
            process.apply(Action(intent.verb), intent.actor)

    def _take_over(self, intent: Intent) -> None:
        """A process that somebody else started becomes the program's first instance."""
        process = self.processes[intent.program_id][0]
        who = Identity(intent.data["pid"], intent.data["kernel_start"], intent.data["boot_id"])
        process.actor = intent.actor
        try:
            process.take_over(Run(who, marker=""), State.RUNNING)
        except ProcessLookupError:
            process.note("program.exited", {"why": f"process {who.pid} ended before it could be adopted"})
            return
        process.desired = True
        self.journal.put(Entry(process.key, desired=Program.Desired.RUNNING.value))

    def _type_in(self, intent: Intent) -> None:
        for process in self.of_program(intent.program_id):
            if not process.is_alive:
                continue
            data = dict(intent.data)
            try:
                launch.write_console(*process.key, str(intent.data["text"]))
            except OSError as error:
                data["error"] = error.strerror or str(error)
            process.note("program.input", data, intent.actor)

    def _reconcile(self, program_id: int) -> None:
        self._look_at_needs(program_id)
        for process in self.of_program(program_id):
            with adopt.contained(program_id, self.programs):
                process.reconcile()
                self._forget_if_over(process)
        program = self.programs.get(program_id)
        if program and program.removed_at and not self.of_program(program_id):
            self._remove(program)

    # --- Who needs whom ---------------------------------------------------------------------------------

    def _look_at_needs(self, program_id: int) -> None:
        blocked_by = next(self._unmet(program_id), "")
        for process in self.of_program(program_id):
            process.blocked_by = blocked_by

    def _unmet(self, program_id: int) -> Iterator[str]:
        for requires, condition in self.needs.get(program_id, ()):
            needed = self.of_program(requires)
            met = _IS_MET[condition]
            if not needed or not all(met(process) for process in needed):
                name = self.programs[requires].name if requires in self.programs else f"program {requires}"
                yield f"waits for {name} to be {condition}"

    def _changed(self, key: Key) -> None:
        """Something moved: dependents may start now, and a process at rest may be over for good.

        Looked at once for all changes of the same moment: a program may have a thousand instances.
        """
        if not self._closing:
            if not self._to_follow_up:
                asyncio.get_running_loop().call_soon(self._follow_up)
            self._to_follow_up.add(key[0])

    def _follow_up(self) -> None:
        changed, self._to_follow_up = self._to_follow_up, set()
        dependents = {
            program_id for program_id, needs in self.needs.items() if any(pk in changed for pk, _ in needs)
        }
        for program_id in changed | dependents:
            self._reconcile(program_id)

    # --- Ends -------------------------------------------------------------------------------------------

    def _forget_if_over(self, process: ManagedProcess) -> None:
        """An instance that was scaled away, or whose program is removed or moved, leaves once it is stopped."""
        program = process.program
        kept = process.index < program.desired_instances and not program.removed_at and self._is_ours(program)
        if kept or process.state is not State.STOPPED:
            return
        del self.processes[program.pk][process.index]
        launch.console_path(*process.key).unlink(missing_ok=True)
        if self._is_ours(program):
            self.journal.put(Entry(process.key, removed="process"))
        else:  # the row goes on with the agent of its new host
            self.programs.pop(program.pk, None)

    def _remove(self, program: Program) -> None:
        del self.programs[program.pk]
        self._autoscaler.forget(program.pk)
        self.processes.pop(program.pk, None)
        self.timetable.learn(program.pk, "")
        self.journal.put(Entry((program.pk, 0), removed="program"))
        shutil.rmtree(Path(settings.LOG_DIR) / str(program.pk), ignore_errors=True)

    # --- Time and samples -------------------------------------------------------------------------------

    def _keep_timetable(self) -> None:
        for program_id in self.timetable.due(local_time(datetime.now(UTC))):
            for process in self.of_program(program_id):
                process.restart("timetable")

    def end(self, run: Run) -> None:
        """Ends a process that must not run, with everyone of its run."""
        task = asyncio.create_task(clear_leftovers(self.scanner, run.who, run.marker, [run.who]))
        self._endings.add(task)
        task.add_done_callback(self._endings.discard)

    def beat(self) -> None:
        """Says that this host's agent is alive, and looks whether memory ran out on the machine."""
        self.journal.beat(datetime.now(UTC))
        self._around.out_of_memory.look()

    def observe(self, usages: Mapping[Key, Usage]) -> None:
        """New samples; processes that are not in `usages` keep what they had."""
        for (program_id, index), usage in usages.items():
            process = self.processes.get(program_id, {}).get(index)
            if process and process.is_touched_by(usage):
                process.observe(usage)
        self.journal.flush_latest()
        for program in filter(self._autoscaler.concerns, list(self.programs.values())):
            wanted = self._autoscaler.decide(program, self.of_program(program.pk), platform.now())
            if wanted is not None:
                self._scale(program, wanted)

    def _scale(self, program: Program, instances: int) -> None:
        data = {"from": program.desired_instances, "to": instances, "why": "CPU"}
        event = told("program.scaled", data)
        self.journal.put(Entry((program.pk, 0), event=event, instances=instances))
        program.desired_instances = instances
        self._learn(program)
        self._set_desired(program)
        self._reconcile(program.pk)

    def runs(self) -> dict[Key, Run]:
        """The present life of each process that runs now."""
        return {process.key: process.run for process in self.everyone() if process.run}

    def logs(self) -> list[LogLimits]:
        """The logs to look after: those of every instance, running or not."""
        return [
            LogLimits(process.log_file, program.log_max_bytes, program.log_backups, program.log_compress)
            for process in self.everyone()
            for program in (process.program,)
        ]

    def _tell(self, event: str, data: dict[str, Any]) -> None:
        self.journal.put(Entry(event=told(event, {"host": self.host.name, **data})))


_INTENTS: dict[str, Callable[[Supervisor, Intent], None]] = {
    "input": Supervisor._type_in,
    "adopt": Supervisor._take_over,
}
_IS_MET: dict[str, Callable[[ManagedProcess], bool]] = {
    "started": lambda process: process.state in (State.RUNNING, State.EXITED),
    "healthy": lambda process: process.is_ready,
}
