"""The verbs of supervision: what people, the API, commands and plugins ask for.

Each writes the wish (definition, desired state, intent) with its event in one transaction and rings the agent,
which alone acts on processes. Nothing here waits for a process.

Each transaction advances the counter before it reads or locks anything else. So they come one after the other:
what one has read stays true until it commits, and no two wait for each other in a circle.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils import timezone

from core.doorbell import ring_on_commit
from core.exceptions import ConflictError
from core.models import Sequence

from . import audit_trail, definition, events
from .hosts import default_heartbeat, is_alive
from .models import Intent, Process, Program, ProgramRevision
from .states import ALIVE, VERBS, Action, State, combined

Desired = Program.Desired
LONGEST_INPUT = 4096


@dataclass(frozen=True)
class Saved:
    program: Program
    applies: dict[str, str]  # changed field → "live" or "restart"


class _DryRunError(Exception):
    pass


def save_definition(
    values: Mapping[str, Any],
    *,
    actor: str,
    program: Program | None = None,
    dry_run: bool = False,
    start: bool = True,
) -> Saved:
    """Creates a program, or changes the given fields of `program`. Raises ValidationError with field names.

    With `dry_run` everything is checked and nothing is kept; without `start` a new program is not started by
    itself this time. Running processes go on: fields that apply at
    the next restart wait for one.
    """
    created = program is None
    subject = program or Program()
    try:
        with transaction.atomic():
            saved = _save(subject, values, actor, created, start)
            if dry_run:
                raise _DryRunError
    except _DryRunError:
        pass
    return saved


def _save(program: Program, values: Mapping[str, Any], actor: str, created: bool, start: bool) -> Saved:
    revision = Sequence.advance()
    before, host = ({}, None) if created else _as_it_is(program)
    definition.assign(program, values)
    if not created and program.host_id != host and program.processes.filter(state__in=ALIVE).exists():
        raise ValidationError({"host": "Stop it first: it cannot move while it runs."})
    if created:
        program.desired_state = Desired.RUNNING if program.autostart and start else Desired.STOPPED
    low, high = program.instances_min, program.instances_max
    if isinstance(low, int) and isinstance(high, int):
        program.desired_instances = min(max(program.desired_instances or 0, low), high)
    program.full_clean()
    program.revision = revision
    program.save()
    if "depends_on" in values:
        definition.assign_dependencies(program, values["depends_on"])
    program = Program.objects.select_related("host").prefetch_related("dependencies__requires").get(pk=program.pk)
    changes = definition.differences(before, definition.as_json(program))
    if "environment" in values and not created and "environment" not in changes:
        changes |= _secret_change(program, values)
    if changes:
        _keep_revision(program, actor, changes, created)
    ring_on_commit("agent")
    return Saved(program, {field: definition.applies(field) for field in changes})


def _as_it_is(program: Program) -> tuple[dict[str, Any], int | None]:
    """The stored definition and host. What others changed since `program` was read stays, on it as well."""
    stored = _present(program)
    for field in Program._meta.concrete_fields:
        setattr(program, field.attname, getattr(stored, field.attname))
    return definition.as_json(stored), stored.host_id


def _present(program: Program) -> Program:
    """As it is stored. Raises ConflictError when somebody has removed it."""
    stored = Program.objects.select_related("host").filter(pk=program.pk).first()
    if stored is None:
        raise ConflictError(f"{program.name} is being removed.")
    return stored


def _secret_change(program: Program, values: Mapping[str, Any]) -> dict[str, list[Any]]:
    """A secret given anew looks the same as before once masked, but it is a change."""
    given = [e for e in values["environment"] if e.get("secret") and e.get("value") != definition.SET]
    return {"environment": [definition.SET, definition.SET]} if given else {}


def _keep_revision(program: Program, actor: str, changes: dict[str, list[Any]], created: bool) -> None:
    last = program.revisions.values_list("number", flat=True).first() or 0
    shown = definition.as_json(program)
    ProgramRevision.objects.create(
        program=program, number=last + 1, actor=actor, definition=shown, changes={} if created else changes
    )
    data = {} if created else {"changes": changes}
    if created:
        audit_trail.record_created(program, actor)
    else:
        audit_trail.record_updated(program, actor, changes)
    events.record("program.created" if created else "program.updated", program=program, actor=actor, data=data)


def state_of(program: Program) -> State:
    """The program's state as people see it: `unknown` while its host's agent is silent."""
    return combined(_states([program])[program.pk])


def _states(programs: list[Program]) -> dict[int, list[State]]:
    """Each program's process states; `unknown` while its host's agent is silent. Two queries for any number."""
    now, heartbeat = timezone.now(), default_heartbeat()
    states: dict[int, list[State]] = {program.pk: [] for program in programs}
    rows = Process.objects.filter(program__in=states).values_list("program_id", "state")
    for program_id, state in rows:
        states[program_id].append(State(state))
    for program in programs:
        beat = program.host.heartbeat_at if program.host else heartbeat
        if not is_alive(beat, now):
            states[program.pk] = [State.UNKNOWN]
    return {program_id: found or [State.STOPPED] for program_id, found in states.items()}


def request(program: Program, verb: Action, *, actor: str) -> None:
    """Asks the agent for `verb`. Raises ConflictError for a move that makes no sense now."""
    if refusal := request_many([program], verb, actor=actor)[program.pk]:
        raise ConflictError(refusal)


def request_many(programs: Iterable[Program], verb: Action, *, actor: str) -> dict[int, str | None]:
    """Asks for `verb` on all of them, in one transaction: program id → None, or why it was refused.

    A verb is refused when no instance could follow it, unless another wish is still on its way.
    """
    programs = list(programs)
    wanted = Desired.RUNNING if verb in (Action.START, Action.RESTART) else Desired.STOPPED
    with transaction.atomic():
        revision = Sequence.advance()
        states = _states(programs)
        desired = dict(Program.objects.filter(pk__in=states).values_list("pk", "desired_state"))
        pending = set(Intent.objects.filter(program__in=states).values_list("program_id", flat=True))
        outcome: dict[int, str | None] = {}
        for program in programs:
            is_possible = any(verb in VERBS[state] for state in states[program.pk])
            if program.pk not in desired:
                outcome[program.pk] = f"{program.name} is being removed."
            elif is_possible or program.pk in pending or desired[program.pk] != wanted:
                outcome[program.pk] = None
            else:
                outcome[program.pk] = f"{program.name} cannot {verb}: it is {combined(states[program.pk])}."
        accepted = [program for program in programs if outcome[program.pk] is None]
        audit_trail.record_actions(programs, actor, verb, outcome)
        _wish(accepted, Intent(verb=verb, actor=actor, revision=revision), wanted)
    return outcome


def _wish(programs: list[Program], intent: Intent, wanted: Desired) -> None:
    ids = [program.pk for program in programs]
    Program.objects.filter(pk__in=ids).update(desired_state=wanted, revision=intent.revision)
    same = {"verb": intent.verb, "actor": intent.actor, "revision": intent.revision}
    Intent.objects.bulk_create(Intent(program_id=pk, **same) for pk in ids)
    for program in programs:
        program.desired_state = wanted
    ring_on_commit("agent")


def scale(program: Program, instances: int, *, actor: str) -> None:
    """Wants `instances` processes.

    Raises ValidationError outside instances_min … instances_max, ConflictError for what is being removed.
    """
    with transaction.atomic():
        revision = Sequence.advance()
        stored = _present(program)
        if not stored.instances_min <= instances <= stored.instances_max:
            span = f"between {stored.instances_min} and {stored.instances_max}"
            raise ValidationError({"instances": f"Must be {span} for {stored.name}."})
        Program.objects.filter(pk=program.pk).update(desired_instances=instances, revision=revision)
        program.desired_instances = instances
        if stored.desired_instances != instances:
            data = {"from": stored.desired_instances, "to": instances}
            events.record("program.scaled", program=program, actor=actor, data=data)
        ring_on_commit("agent")


def send_input(program: Program, text: str, *, actor: str) -> None:
    """A line for the console of every running instance. Raises ValidationError or ConflictError."""
    if program.stdin != Program.Stdin.CONSOLE:
        raise ConflictError(f"{program.name} has no console: set its stdin to console and restart it.")
    if not text or len(text.encode()) > LONGEST_INPUT or "\x00" in text:
        raise ValidationError({"text": f"Must be 1 to {LONGEST_INPUT} bytes without NUL characters."})
    if state_of(program) not in (State.RUNNING, State.STARTING, State.STOPPING):
        raise ConflictError(f"{program.name} is not running.")
    with transaction.atomic():
        revision = Sequence.advance()
        _present(program)
        Intent.objects.create(program=program, verb="input", actor=actor, data={"text": text}, revision=revision)
        ring_on_commit("agent")


def remove(program: Program, *, actor: str) -> None:
    """Forgets the program; the agent first stops what runs.

    Raises ConflictError while others need it, and when somebody has removed it already.
    """
    try:
        _remove(program, actor)
    except ConflictError as error:
        audit_trail.record_refused(program, actor, "removed", str(error))  # after the rollback
        raise


def _remove(program: Program, actor: str) -> None:
    with transaction.atomic():
        revision = Sequence.advance()
        _present(program)
        needing = program.dependents.filter(program__removed_at=None).values_list("program__name", flat=True)
        if needing:
            raise ConflictError(f"{program.name} is needed by {', '.join(sorted(needing))}.")
        audit_trail.record_removed(program, actor)
        program.dependencies.all().delete()
        events.record("program.removed", program=program, actor=actor, data={"id": program.pk})
        Program.objects.filter(pk=program.pk).update(
            removed_at=timezone.now(), desired_state=Desired.STOPPED, revision=revision
        )
        ring_on_commit("agent")
