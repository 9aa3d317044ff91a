"""What happened, on its way to the database: in order, in one thread, and safe before it gets there.

Each entry is appended to a file first (a few microseconds, no fsync: it survives the agent, not a power cut), then
written by the writer thread in short transactions. While the database is busy or gone the thread tries again and
the agent goes on; one that died finds the file at its next start and writes the rest. Entries are numbered and
the database keeps the last number it has, so none is written twice. The newest sampled values and the heartbeat
take a side entrance: only the latest counts. Batches, what upper floors want written, follow the entries.
"""

from __future__ import annotations

import json
import queue
import threading
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import structlog
from django.db import close_old_connections, connection, transaction
from django.utils.dateparse import parse_datetime

from core.db_errors import is_outage
from core.models import Sequence
from programs import events
from programs.incidents import write_incident
from programs.models import Host, Intent, Process, Program

from . import heartbeat
from .heartbeat import Beat
from .journal_file import JournalFile

log = structlog.get_logger(__name__)

# The interpreter runs one thread at a time, so a burst of starts goes first: writing begins when nothing new has
# come for SETTLE_SECONDS, or after so many rounds of it.
SETTLE_SECONDS = 0.015
SETTLE_ROUNDS = 20
RETRY_SECONDS = (0.1, 0.5, 1.0, 2.0)
LARGEST_BATCH = 200
LONGEST_REASON = 500
MOMENTS = ("started_at", "next_start_at")

Key = tuple[int, int]  # program id, process index


@dataclass
class Entry:
    """One step of one process: its new column values and the event that tells of it, written together.

    `event` has uid, type, at (ISO), actor and data; `incident` holds the facts for the incident card; `intents`
    are the ids this step has dealt with; `desired` is the program's new desired state, where the agent itself
    decides it, and `instances` their new number; `removed` says that the process's row ("process") or the whole
    program ("program") goes away. `number` is the journal's to give.
    """

    process: Key | None = None
    values: dict[str, Any] = field(default_factory=dict)
    event: dict[str, Any] | None = None
    incident: dict[str, Any] | None = None
    intents: list[int] = field(default_factory=list)
    desired: str = ""
    instances: int | None = None
    removed: str = ""

    number: int = 0

    @classmethod
    def from_fields(cls, fields: dict[str, Any]) -> Entry:
        """As it was written to the file. Raises TypeError for what is no entry."""
        return cls(**{**fields, "process": tuple(fields["process"]) if fields["process"] else None})


class Journal:
    """The agent's only way to write. `put` never blocks on the database; `close` waits for what is queued."""

    def __init__(self, path: Path, host: Host, on_written: Callable[[], None] = lambda: None) -> None:
        self._path = path
        self._host_id = host.pk
        self._number = host.journal_written
        self._on_written = on_written
        self._queue: queue.SimpleQueue[Entry | None] = queue.SimpleQueue()
        self._pending = 0
        self._lock = threading.Lock()
        self._latest: dict[Key, dict[str, Any]] = {}
        self._beat: Beat | None = None
        self._was_heard = False
        self._batches: deque[Callable[[], None]] = deque()
        self._last_batches: list[Callable[[], None]] = []
        self._closing = False
        self._never = threading.Event()
        self._file = JournalFile(path)
        self._thread = threading.Thread(target=self._run, name="journal", daemon=True)

    # --- The agent's side ---

    def start(self) -> int:
        """Takes up what an earlier agent left unwritten (the number of entries) and begins to write."""
        written = self._number
        left = [Entry.from_fields(fields) for fields in self._file.read()]
        for entry in left:
            self._number = max(self._number, entry.number)
            if entry.number > written:
                self._enqueue(entry)
        self._file.written(written)
        self._thread.start()
        return self._pending

    def put(self, entry: Entry) -> None:
        with self._lock:
            self._pending += 1
            self._number += 1
            entry.number = self._number
            if entry.process and "cpu_percent" in entry.values:
                self._latest.pop(entry.process, None)  # sampled before it ended
            self._file.append(vars(entry))
            self._queue.put(entry)

    def put_latest(self, key: Key, values: dict[str, Any]) -> None:
        """Sampled values: a newer call replaces an older one that is not written yet."""
        with self._lock:
            self._latest.setdefault(key, {}).update(values)

    def flush_latest(self) -> None:
        """Has the sampled values written now, if there are any."""
        if self._latest:
            self._queue.put(None)

    def beat(self, now: datetime) -> None:
        with self._lock:
            self._beat = Beat(now, heartbeat.Kind.NEXT if self._was_heard else heartbeat.Kind.FIRST)
        self._queue.put(None)

    def put_batch(self, write: Callable[[], None]) -> None:
        """Has `write` called by the writer thread, in a transaction of its own; once, however often it was put.

        It waits for all entries, and is called again after the database was away: what it keeps until then is its
        own to bound. It may put itself again to go on in a further transaction.
        """
        with self._lock:
            if write not in self._batches:
                self._batches.append(write)
        self._queue.put(None)

    def put_last(self, write: Callable[[], None]) -> None:
        """Has `write` called as a batch when the journal is closed, after everything else."""
        self._last_batches.append(write)

    @property
    def is_writing(self) -> bool:
        return self._thread.is_alive()

    @property
    def pending(self) -> int:
        """Entries that the database does not have yet."""
        return self._pending

    def close(self, timeout: float, good_bye: datetime | None = None) -> bool:
        """Writes what is queued; False when the database did not take it in time (the file still has it).

        `good_bye` is the moment of a clean end: then nobody will take the silence that follows for a loss.
        """
        if good_bye:
            self._beat = Beat(good_bye, heartbeat.Kind.LAST)
        self._closing = True
        self._queue.put(None)
        self._thread.join(timeout)
        return not self._thread.is_alive()

    # --- The writer thread ---

    def _enqueue(self, entry: Entry) -> None:
        with self._lock:
            self._pending += 1
        self._queue.put(entry)

    def _run(self) -> None:
        while not (self._closing and self._queue.empty()):
            batch = self._collect()
            if batch or self._latest or self._beat:
                self._write_for_sure(batch)
                with self._lock:
                    self._pending -= len(batch)
                    if batch:
                        self._file.written(batch[-1].number)
                self._on_written()
            self._write_batches()
        self._batches.extend(self._last_batches)
        self._write_batches()
        connection.close()

    def _collect(self) -> list[Entry]:
        first = self._queue.get()
        if not self._closing:
            self._settle()
        batch = [first] if first else []
        while len(batch) < LARGEST_BATCH:
            try:
                entry = self._queue.get_nowait()
            except queue.Empty:
                break
            if entry:
                batch.append(entry)
        return batch

    def _write_for_sure(self, batch: list[Entry]) -> None:
        """Tries until the database takes the batch. Only a closing journal may give up: the file keeps it."""
        attempt = 0
        while True:
            with self._lock:
                latest, self._latest = self._latest, {}
                beat, self._beat = self._beat, None
            try:
                close_old_connections()
                write(batch, latest, self._host_id, beat)
                self._was_heard = self._was_heard or beat is not None
                return
            except Exception as error:
                if not is_outage(error):  # one entry that cannot be written must not hold up all that follow
                    log.exception("journal.entry_refused", entries=len(batch))
                    self._write_one_by_one(batch)
                    return
                connection.close()
                log.warning("journal.database_unavailable", error=str(error), waiting=self._pending)
                with self._lock:
                    self._latest = {**latest, **self._latest}
                    self._beat = self._beat or beat
            if self._closing and attempt >= len(RETRY_SECONDS):
                raise SystemExit  # ends this thread only, with the file as it is
            self._pause(RETRY_SECONDS[min(attempt, len(RETRY_SECONDS) - 1)])
            attempt += 1

    def _settle(self) -> None:
        for _ in range(SETTLE_ROUNDS):
            before = self._pending
            self._pause(SETTLE_SECONDS)
            if self._pending == before:
                return

    def _write_batches(self) -> None:
        """Each that waits now, once. What fails for want of a database waits for the next beat at most."""
        for _ in range(len(self._batches)):
            if not self._queue.empty():  # entries go first; they bring us here again
                return
            write = self._batches.popleft()
            try:
                with transaction.atomic():
                    write()
            except Exception as error:
                if not is_outage(error):  # one that cannot be written must not hold up the others
                    log.exception("journal.batch_refused")
                    continue
                connection.close()
                log.warning("journal.batch_put_off", error=str(error))
                self._batches.append(write)

    def _pause(self, seconds: float) -> None:
        self._never.wait(seconds)

    def _write_one_by_one(self, batch: list[Entry]) -> None:
        if len(batch) > 1:
            for entry in batch:
                self._write_for_sure([entry])
        elif batch:
            try:
                with self._path.with_suffix(".refused").open("a") as file:
                    file.write(json.dumps(vars(batch[0])) + "\n")
            except OSError as error:
                log.error("journal.refused_entry_lost", error=str(error), entry=vars(batch[0]))


# --- Into the database ----------------------------------------------------------------------------------


def write(
    entries: Iterable[Entry], latest: dict[Key, dict[str, Any]], host_id: int, beat: Beat | None = None
) -> None:
    """Everything in one transaction, with the number of the last entry."""
    entries = list(entries)
    with transaction.atomic():
        programs = _programs(entries, latest)
        for entry in entries:
            _apply(entry, programs)
        _apply_latest(latest, programs)
        columns = {"journal_written": entries[-1].number} if entries else {}
        if columns or beat:
            heartbeat.save(host_id, beat, columns)


def _programs(entries: list[Entry], latest: dict[Key, dict[str, Any]]) -> dict[int, Program]:
    wanted = {entry.process[0] for entry in entries if entry.process} | {key[0] for key in latest}
    return {program.pk: program for program in Program.everything.filter(pk__in=wanted)} if wanted else {}


def _apply(entry: Entry, programs: dict[int, Program]) -> None:
    event = entry.event
    if entry.intents:
        Intent.objects.filter(pk__in=entry.intents).delete()
    program = programs.get(entry.process[0]) if entry.process else None
    if program and entry.process and entry.values:
        _save_process(program, entry.process[1], entry.values)
    if event:
        recorded = events.record(
            event["type"],
            uid=event["uid"],
            at=parse_datetime(event["at"]),
            actor=event["actor"],
            data=event["data"],
            program=program,
            process_index=entry.process[1] if entry.process else None,
        )
        if entry.incident:
            write_incident(recorded, entry.incident)
    if program and (columns := _program_columns(entry)):
        Program.everything.filter(pk=program.pk).update(**columns, revision=Sequence.advance())
    if entry.removed and entry.process:
        _remove(entry, programs)


def _program_columns(entry: Entry) -> dict[str, Any]:
    columns: dict[str, Any] = {"desired_state": entry.desired} if entry.desired else {}
    return columns | ({} if entry.instances is None else {"desired_instances": entry.instances})


def _save_process(program: Program, index: int, values: dict[str, Any]) -> None:
    values = {name: parse_datetime(v) if name in MOMENTS and v else v for name, v in values.items()}
    if values.get("reason"):
        values["reason"] = events.masked_text(values["reason"], program)[:LONGEST_REASON]
    values["revision"] = Sequence.advance()
    if not Process.objects.filter(program=program, index=index).update(**values):
        Process.objects.create(program=program, index=index, **values)


def _remove(entry: Entry, programs: dict[int, Program]) -> None:
    program_id, index = entry.process or (0, 0)
    Process.objects.filter(program_id=program_id, index=index).delete()
    Program.everything.filter(pk=program_id).update(revision=Sequence.advance())
    if entry.removed == "program":
        Program.everything.filter(pk=program_id).exclude(removed_at=None).delete()
        programs.pop(program_id, None)


def _apply_latest(latest: dict[Key, dict[str, Any]], programs: dict[int, Program]) -> None:
    """Sampled values in one statement per shape: a thousand rows cost milliseconds."""
    if not latest:
        return
    first = Sequence.advance(by=len(latest))
    rows = [
        (values["cpu_percent"], values["memory_bytes"], values["threads"], first + offset, *key)
        for offset, (key, values) in enumerate(latest.items())
        if key[0] in programs
    ]
    table = connection.ops.quote_name(Process._meta.db_table)
    with connection.cursor() as cursor:
        cursor.executemany(
            f"UPDATE {table} SET cpu_percent=%s, memory_bytes=%s, threads=%s, revision=%s "  # noqa: S608
            'WHERE program_id=%s AND "index"=%s',
            rows,
        )
