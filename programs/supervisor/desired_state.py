"""Reads what people want from the database. Runs in the agent's reader thread; writes nothing."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from django.db import close_old_connections, connection
from django.db.models import Max, Q

from core.models import Sequence
from programs.models import Dependency, Host, Intent, Process, Program

# Asked once a second, mostly in vain. Django would take ten times as long to put the same together each time.
NEWS = f"""
SELECT COALESCE((SELECT value FROM {Sequence._meta.db_table} WHERE name = 'revision'), 0),
       EXISTS (SELECT 1 FROM {Program._meta.db_table} WHERE revision > %s),
       EXISTS (SELECT 1 FROM {Intent._meta.db_table})
"""  # noqa: S608
Needs = dict[int, list[tuple[int, str]]]  # program id → the programs it needs, and how


@dataclass(frozen=True)
class DesiredState:
    """Programs changed since the last reading, verbs that wait, and all dependencies if any program changed."""

    revision: int
    programs: list[Program] = field(default_factory=list)
    intents: list[Intent] = field(default_factory=list)
    needs: Needs | None = None


def read(host: Host, since: int, handled: Collection[int] = ()) -> DesiredState:
    """Everything written up to one revision, as if in one look; other hosts' programs too, for one may have moved.

    The counter is read first, and what is newer than it is left for the next reading: so no verb is seen without
    the desired state that came with it, and no desired state without its verb. `handled` are intents that were
    acted upon and are not deleted yet.
    """
    close_old_connections()
    revision, has_changes, has_intents = _news(since)
    if not (has_changes or has_intents):
        return DesiredState(revision)
    ours = Program.everything.of_host(host)
    intents = list(Intent.objects.filter(program__in=ours, revision__lte=revision).order_by("id"))
    changed = Q(revision__gt=since, revision__lte=revision) | Q(
        pk__in={i.program_id for i in intents if i.pk not in handled}
    )
    # `number` is the definition's number that a process started now runs under.
    programs = list(Program.everything.filter(changed).annotate(number=Max("revisions__number")))
    return DesiredState(revision, programs, intents, _needs() if programs else None)


def _news(since: int) -> tuple[int, bool, bool]:
    """The counter, whether any program changed after `since`, and whether any verb waits, of one moment."""
    with connection.cursor() as cursor:
        cursor.execute(NEWS, [since])
        revision, has_changes, has_intents = cursor.fetchone()
    return revision, bool(has_changes), bool(has_intents)


def _needs() -> Needs:
    needs: Needs = {}
    for program, requires, condition in Dependency.objects.values_list("program_id", "requires_id", "condition"):
        needs.setdefault(program, []).append((requires, condition))
    return needs


def processes(host: Host) -> list[Process]:
    """The rows of this host as the last agent left them."""
    close_old_connections()
    return list(Process.objects.filter(program__in=Program.everything.of_host(host)))
