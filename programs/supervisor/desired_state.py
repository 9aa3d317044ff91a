"""Reads from the database what should run and which actions are pending. Writes nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

from django.db import Error as DatabaseFault
from django.db import close_old_connections, connection
from django.db.models import Max, Q

from core.models import Sequence
from programs.models import Dependency, Host, Intent, Process, Program

# Runs every second and mostly finds nothing. The ORM would take ten times as long to build it.
CHANGES_QUERY = f"""
SELECT COALESCE((SELECT value FROM {Sequence._meta.db_table} WHERE name = 'revision'), 0),
       EXISTS (SELECT 1 FROM {Program._meta.db_table} WHERE revision > %s),
       EXISTS (SELECT 1 FROM {Intent._meta.db_table})
"""  # noqa: S608
Dependencies = dict[int, list[tuple[int, str]]]  # program id → (id of a program it needs, condition)
T = TypeVar("T")


@dataclass(frozen=True)
class DesiredState:
    """Programs changed since the last read and pending intents; all dependencies if any program changed."""

    revision: int
    programs: list[Program] = field(default_factory=list)
    intents: list[Intent] = field(default_factory=list)
    dependencies: Dependencies | None = None


class DatabaseReader:
    """Reads in a thread of its own, so that a slow database does not block the event loop."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="reader")

    async def desired_state(self, since: int, handled: Collection[int] = ()) -> DesiredState:
        return await self._run(partial(read, self._host, since, frozenset(handled)))

    async def process_rows(self) -> list[Process]:
        return await self._run(partial(process_rows, self._host))

    def close(self) -> None:
        self._executor.submit(connection.close)
        self._executor.shutdown()

    async def _run(self, query: Callable[[], T]) -> T:
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self._executor, query)
        except DatabaseFault:
            await loop.run_in_executor(self._executor, connection.close)  # the next read opens a new one
            raise


def read(host: Host, since: int, handled: Collection[int] = ()) -> DesiredState:
    """Everything written up to one revision. Includes programs of other hosts, since one may have moved there.

    Reads the counter first and leaves what is newer to the next read: an intent always comes together with the
    desired state it was saved with. `handled` are intents that were carried out but are not deleted yet.
    """
    close_old_connections()
    revision, has_changes, has_intents = _changes(since)
    if not (has_changes or has_intents):
        return DesiredState(revision)
    local = Program.everything.of_host(host)
    intents = list(Intent.objects.filter(program__in=local, revision__lte=revision).order_by("id"))
    changed = Q(revision__gt=since, revision__lte=revision) | Q(
        pk__in={i.program_id for i in intents if i.pk not in handled}
    )
    # `number` is the number of the definition that a process started now runs.
    programs = list(Program.everything.filter(changed).annotate(number=Max("revisions__number")))
    return DesiredState(revision, programs, intents, _dependencies() if programs else None)


def _changes(since: int) -> tuple[int, bool, bool]:
    """The counter, whether a program changed after `since`, and whether an intent is pending."""
    with connection.cursor() as cursor:
        cursor.execute(CHANGES_QUERY, [since])
        revision, has_changes, has_intents = cursor.fetchone()
    return revision, bool(has_changes), bool(has_intents)


def _dependencies() -> Dependencies:
    found: Dependencies = {}
    for program, requires, condition in Dependency.objects.values_list("program_id", "requires_id", "condition"):
        found.setdefault(program, []).append((requires, condition))
    return found


def process_rows(host: Host) -> list[Process]:
    """The rows of this host as the last agent left them."""
    close_old_connections()
    return list(Process.objects.filter(program__in=Program.everything.of_host(host)))
