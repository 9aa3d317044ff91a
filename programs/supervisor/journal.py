"""Writes everything the agent records to the database: in order, from one thread, without blocking the agent.

An entry is first appended to a file (a few microseconds; no fsync, so it survives the agent but not a power cut),
then written by the writer thread in short transactions. While the database is unavailable the thread retries. An
agent that died finds the file at its next start and writes the rest. Entries are numbered and the database stores
the last number it has, so none is written twice. Of sampled values and the heartbeat only the latest is written.
Batches of the apps above follow the entries.
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
from .heartbeat import HostHeartbeat
from .journal_file import JournalFile

log = structlog.get_logger(__name__)

# Python runs one thread at a time, so a burst of starts goes first: writing begins when nothing new has come for
# QUIET_SECONDS, or after QUIET_ROUNDS times that.
QUIET_SECONDS = 0.015
QUIET_ROUNDS = 20
RETRY_SECONDS = (0.1, 0.5, 1.0, 2.0)
MAX_BATCH_ENTRIES = 200
MAX_REASON_LENGTH = 500  # of the column
DATETIME_COLUMNS = ("started_at", "next_start_at")

ProcessKey = tuple[int, int]  # program id, process index


@dataclass
class Entry:
    """New column values of a process and the event that explains them, written together. Stored as JSON.

    `event` has uid, type, at (ISO), actor and data; `incident` the facts of its incident; `intents` the ids that
    are carried out; `desired` and `instances` the program's new desired state and number of instances, where the
    agent decides them; `removed` is "process" or "program". The journal sets `number`.
    """

    process: ProcessKey | None = None
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
        """Raises TypeError for fields that no entry has."""
        return cls(**{**fields, "process": tuple(fields["process"]) if fields["process"] else None})


class Journal:
    """The agent's only way to write. `put` never waits for the database."""

    def __init__(self, path: Path, host: Host, on_written: Callable[[], None] = lambda: None) -> None:
        self._path = path
        self._host_id = host.pk
        self._number = host.journal_written
        self._on_written = on_written
        self._queue: queue.SimpleQueue[Entry | None] = queue.SimpleQueue()
        self._pending = 0
        self._lock = threading.Lock()
        self._latest: dict[ProcessKey, dict[str, Any]] = {}
        self._heartbeat: HostHeartbeat | None = None
        self._has_sent_heartbeat = False
        self._batches: deque[Callable[[], None]] = deque()
        self._last_batches: list[Callable[[], None]] = []
        self._closing = False
        self._never_set = threading.Event()
        self._file = JournalFile(path)
        self._thread = threading.Thread(target=self._run, name="journal", daemon=True)

    # --- The agent's side ---

    def start(self) -> int:
        """Starts writing; returns how many entries of an earlier agent were left unwritten."""
        written = self._number
        left = [Entry.from_fields(fields) for fields in self._file.read()]
        for entry in left:
            self._number = max(self._number, entry.number)
            if entry.number > written:
                self._enqueue(entry)
        self._file.mark_written(written)
        self._thread.start()
        return self._pending

    def put(self, entry: Entry) -> None:
        with self._lock:
            self._pending += 1
            self._number += 1
            entry.number = self._number
            if entry.process and "cpu_percent" in entry.values:
                self._latest.pop(entry.process, None)  # sampled before the exit
            self._file.append(vars(entry))
            self._queue.put(entry)

    def put_latest(self, key: ProcessKey, values: dict[str, Any]) -> None:
        with self._lock:
            self._latest.setdefault(key, {}).update(values)

    def flush_latest(self) -> None:
        if self._latest:
            self._queue.put(None)

    def heartbeat(self, now: datetime) -> None:
        with self._lock:
            self._heartbeat = HostHeartbeat(
                now, heartbeat.Kind.NEXT if self._has_sent_heartbeat else heartbeat.Kind.FIRST
            )
        self._queue.put(None)

    def put_batch(self, write: Callable[[], None]) -> None:
        """The writer thread calls `write` in a transaction of its own, after all entries; once if put repeatedly.

        It is called again if the database was unavailable, and must bound what it keeps until then. It may put
        itself again to continue in another transaction.
        """
        with self._lock:
            if write not in self._batches:
                self._batches.append(write)
        self._queue.put(None)

    def put_last(self, write: Callable[[], None]) -> None:
        """Has `write` called as the last batch when the journal is closed."""
        self._last_batches.append(write)

    @property
    def is_writing(self) -> bool:
        return self._thread.is_alive()

    @property
    def pending(self) -> int:
        return self._pending

    def close(self, timeout: float, stopped_at: datetime | None = None) -> bool:
        """Writes what is queued; False when the database did not take it in time (the file still has it).

        `stopped_at` is when the agent stopped cleanly: no lost heartbeat is reported after that.
        """
        if stopped_at:
            self._heartbeat = HostHeartbeat(stopped_at, heartbeat.Kind.LAST)
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
            if batch or self._latest or self._heartbeat:
                self._write_until_taken(batch)
                with self._lock:
                    self._pending -= len(batch)
                    if batch:
                        self._file.mark_written(batch[-1].number)
                self._on_written()
            self._write_batches()
        self._batches.extend(self._last_batches)
        self._write_batches()
        connection.close()

    def _collect(self) -> list[Entry]:
        first = self._queue.get()
        if not self._closing:
            self._wait_until_quiet()
        batch = [first] if first else []
        while len(batch) < MAX_BATCH_ENTRIES:
            try:
                entry = self._queue.get_nowait()
            except queue.Empty:
                break
            if entry:
                batch.append(entry)
        return batch

    def _write_until_taken(self, batch: list[Entry]) -> None:
        """Retries until the database takes the batch. A closing journal gives up: the file keeps the entries."""
        attempt = 0
        while True:
            with self._lock:
                latest, self._latest = self._latest, {}
                beat, self._heartbeat = self._heartbeat, None
            try:
                close_old_connections()
                write(batch, latest, self._host_id, beat)
                self._has_sent_heartbeat = self._has_sent_heartbeat or beat is not None
                return
            except Exception as error:
                if not is_outage(error):  # one entry that cannot be written must not block the rest
                    log.exception("journal.entry_refused", entries=len(batch))
                    self._write_one_by_one(batch)
                    return
                connection.close()
                log.warning("journal.database_unavailable", error=str(error), waiting=self._pending)
                with self._lock:
                    self._latest = {**latest, **self._latest}
                    self._heartbeat = self._heartbeat or beat
            if self._closing and attempt >= len(RETRY_SECONDS):
                raise SystemExit  # ends this thread only, with the file as it is
            self._pause(RETRY_SECONDS[min(attempt, len(RETRY_SECONDS) - 1)])
            attempt += 1

    def _wait_until_quiet(self) -> None:
        for _ in range(QUIET_ROUNDS):
            before = self._pending
            self._pause(QUIET_SECONDS)
            if self._pending == before:
                return

    def _write_batches(self) -> None:
        """Calls each pending batch once. After a database fault the next heartbeat, at the latest, retries it."""
        for _ in range(len(self._batches)):
            if not self._queue.empty():  # entries go first, and this is called again after them
                return
            write = self._batches.popleft()
            try:
                with transaction.atomic():
                    write()
            except Exception as error:
                if not is_outage(error):  # one that cannot be written must not block the others
                    log.exception("journal.batch_refused")
                    continue
                connection.close()
                log.warning("journal.batch_put_off", error=str(error))
                self._batches.append(write)

    def _pause(self, seconds: float) -> None:
        self._never_set.wait(seconds)

    def _write_one_by_one(self, batch: list[Entry]) -> None:
        if len(batch) > 1:
            for entry in batch:
                self._write_until_taken([entry])
        elif batch:
            try:
                with self._path.with_suffix(".refused").open("a") as file:
                    file.write(json.dumps(vars(batch[0])) + "\n")
            except OSError as error:
                log.error("journal.refused_entry_lost", error=str(error), entry=vars(batch[0]))


# --- Into the database ----------------------------------------------------------------------------------


def write(
    entries: Iterable[Entry],
    latest: dict[ProcessKey, dict[str, Any]],
    host_id: int,
    beat: HostHeartbeat | None = None,
) -> None:
    """Writes it all in one transaction, together with the number of the last entry."""
    entries = list(entries)
    with transaction.atomic():
        _lock_programs(entries)
        programs = _programs(entries, latest)
        for entry in entries:
            _apply(entry, programs)
        _apply_latest(latest, programs)
        columns = {"journal_written": entries[-1].number} if entries else {}
        if columns or beat:
            heartbeat.save(host_id, beat, columns)


def _lock_programs(entries: list[Entry]) -> None:
    # In the order in which `services` locks them, or the two could deadlock.
    ids = {entry.process[0] for entry in entries if entry.process and (entry.removed or _program_columns(entry))}
    if ids:
        rows = Program.everything.select_for_update(no_key=True).filter(pk__in=ids)
        list(rows.order_by("pk").values_list("pk"))


def _programs(entries: list[Entry], latest: dict[ProcessKey, dict[str, Any]]) -> dict[int, Program]:
    ids = {entry.process[0] for entry in entries if entry.process} | {key[0] for key in latest}
    return {program.pk: program for program in Program.everything.filter(pk__in=ids)} if ids else {}


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
    values = {name: parse_datetime(v) if name in DATETIME_COLUMNS and v else v for name, v in values.items()}
    if values.get("reason"):
        values["reason"] = events.masked_text(values["reason"], program)[:MAX_REASON_LENGTH]
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


def _apply_latest(latest: dict[ProcessKey, dict[str, Any]], programs: dict[int, Program]) -> None:
    """One executemany for all rows: a thousand cost milliseconds."""
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
