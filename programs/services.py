"""The actions of supervision, called by the API, the admin, commands and plugins.

Each writes the desired state (definition, intent) and its event in one transaction and wakes the agent, which
alone acts on processes. Nothing here waits for a process.

Each transaction advances the counter before it reads or locks anything else. That serialises them: what one has
read stays true until it commits, and no two can deadlock.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils import timezone

from core.doorbell import ring_on_commit
from core.exceptions import ConflictError
from core.models import Sequence

from . import events
from .definition.conversion import assign, definition_json, differences
from .definition.dependencies import assign_dependencies
from .definition.environment import has_new_secret
from .definition.fields import applies
from .definition.values import SET
from .hosts import default_heartbeat, is_alive
from .models import Intent, Process, Program, ProgramRevision
from .states import ALIVE, ALLOWED_ACTIONS, Action, State, combined_state

Desired = Program.Desired
MAX_INPUT_BYTES = 4096


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
    """Creates a program, or changes the given fields of `program`. Raises ValidationError by field name.

    `dry_run` validates everything and saves nothing. Without `start` a new program isn't started, whatever its
    `autostart`. Running processes are not touched: some fields wait for their next restart.
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
    before, host = ({}, None) if created else _refresh(program)
    errors = _errors(assign, program, values)
    if created:
        program.desired_state = Desired.RUNNING if program.autostart and start else Desired.STOPPED
    elif program.host_id != host and program.processes.filter(state__in=ALIVE).exists():
        errors["host"] = ["Stop it first: a running program can't move to another host."]
    # They may hold anything until full_clean has seen them.
    low, high = program.instances_min, program.instances_max
    if isinstance(low, int) and isinstance(high, int):
        program.desired_instances = min(max(program.desired_instances or 0, low), high)
    if errors := {**_errors(program.full_clean), **errors}:
        raise ValidationError(errors)
    program.revision = revision
    program.save()
    if "depends_on" in values:
        assign_dependencies(program, values["depends_on"])
    program = Program.objects.select_related("host").prefetch_related("dependencies__requires").get(pk=program.pk)
    changes = differences(before, definition_json(program))
    if "environment" in values and not created and "environment" not in changes:
        # A new secret looks like the old one once masked, but it is a change.
        changes |= {"environment": [SET, SET]} if has_new_secret(values["environment"]) else {}
    if changes:
        _record_revision(program, actor, changes, created)
    ring_on_commit("agent")
    return Saved(program, {field: applies(field) for field in changes})


def _errors(check: Callable[..., None], *arguments: Any) -> dict[str, Any]:
    try:
        check(*arguments)
    except ValidationError as error:
        return error.error_dict
    return {}


def _refresh(program: Program) -> tuple[dict[str, Any], int | None]:
    """The stored definition and host id. Also loads into `program` what others changed since it was read."""
    stored = _stored(program)
    for field in Program._meta.concrete_fields:
        setattr(program, field.attname, getattr(stored, field.attname))
    return definition_json(stored), stored.host_id


def _stored(program: Program) -> Program:
    stored = Program.objects.select_related("host").filter(pk=program.pk).first()
    if stored is None:
        raise ConflictError(f"{program.name} is being removed.")
    return stored


def _record_revision(program: Program, actor: str, changes: dict[str, list[Any]], created: bool) -> None:
    last = program.revisions.values_list("number", flat=True).first() or 0
    shown = definition_json(program)
    ProgramRevision.objects.create(
        program=program, number=last + 1, actor=actor, definition=shown, changes={} if created else changes
    )
    data = {} if created else {"changes": changes}
    events.record("program.created" if created else "program.updated", program=program, actor=actor, data=data)


def state_of(program: Program) -> State:
    return combined_state(_states([program])[program.pk])


def _states(programs: list[Program]) -> dict[int, list[State]]:
    """Program id → states of its processes, in two queries; `unknown` while the heartbeat of its agent is lost."""
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


def request(program: Program, action: Action, *, actor: str) -> None:
    """Requests `action` from the agent. Raises ConflictError if it is impossible in the current state."""
    if refusal := request_many([program], action, actor=actor)[program.pk]:
        raise ConflictError(refusal)


def request_many(programs: Iterable[Program], action: Action, *, actor: str) -> dict[int, str | None]:
    """Requests `action` for all of them, in one transaction: program id → None, or the reason of a refusal.

    An action is refused if no instance could carry it out, unless an earlier request is still pending.
    """
    programs = list(programs)
    target = Desired.RUNNING if action in (Action.START, Action.RESTART) else Desired.STOPPED
    with transaction.atomic():
        revision = Sequence.advance()
        states = _states(programs)
        desired = dict(Program.objects.filter(pk__in=states).values_list("pk", "desired_state"))
        # With an earlier request pending, the states above are not the ones that this request will meet.
        pending = set(Intent.objects.filter(program__in=states).values_list("program_id", flat=True))
        refusals: dict[int, str | None] = {}
        for program in programs:
            is_possible = any(action in ALLOWED_ACTIONS[state] for state in states[program.pk])
            if program.pk not in desired:
                refusals[program.pk] = f"{program.name} is being removed."
            elif is_possible or program.pk in pending or desired[program.pk] != target:
                refusals[program.pk] = None
            else:
                refusals[program.pk] = (
                    f"{program.name} cannot {action}: it is {combined_state(states[program.pk])}."
                )
        accepted = [program for program in programs if refusals[program.pk] is None]
        _store_intents(accepted, Intent(verb=action, actor=actor, revision=revision), target)
    return refusals


def _store_intents(programs: list[Program], intent: Intent, target: Desired) -> None:
    ids = [program.pk for program in programs]
    Program.objects.filter(pk__in=ids).update(desired_state=target, revision=intent.revision)
    same = {"verb": intent.verb, "actor": intent.actor, "revision": intent.revision}
    Intent.objects.bulk_create(Intent(program_id=pk, **same) for pk in ids)
    # The callers show these objects, which the UPDATE did not change.
    for program in programs:
        program.desired_state = target
    ring_on_commit("agent")


def scale(program: Program, instances: int, *, actor: str) -> None:
    """Raises ValidationError outside instances_min … instances_max, ConflictError if the program was removed."""
    with transaction.atomic():
        revision = Sequence.advance()
        stored = _stored(program)
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
    """Sends `text` to the console of every running instance. Raises ValidationError or ConflictError."""
    if program.stdin != Program.Stdin.CONSOLE:
        raise ConflictError(f"{program.name} has no console. Set its stdin to console and restart it.")
    if not text or len(text.encode()) > MAX_INPUT_BYTES or "\x00" in text:
        raise ValidationError({"text": f"Must be 1 to {MAX_INPUT_BYTES} bytes without NUL characters."})
    if state_of(program) not in (State.RUNNING, State.STARTING, State.STOPPING):
        raise ConflictError(f"{program.name} is not running.")
    with transaction.atomic():
        revision = Sequence.advance()
        _stored(program)
        Intent.objects.create(program=program, verb="input", actor=actor, data={"text": text}, revision=revision)
        ring_on_commit("agent")


def remove(program: Program, *, actor: str) -> None:
    """Removes the program once the agent has stopped its processes.

    Raises ConflictError if other programs depend on it, or if it was removed already.
    """
    with transaction.atomic():
        revision = Sequence.advance()
        _stored(program)
        dependents = program.dependents.filter(program__removed_at=None).values_list("program__name", flat=True)
        if dependents:
            raise ConflictError(f"{program.name} is needed by {', '.join(sorted(dependents))}.")
        program.dependencies.all().delete()
        events.record("program.removed", program=program, actor=actor, data={"id": program.pk})
        Program.objects.filter(pk=program.pk).update(
            removed_at=timezone.now(), desired_state=Desired.STOPPED, revision=revision
        )
        ring_on_commit("agent")
