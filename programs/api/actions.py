"""Start, stop, restart, kill; input, scaling and the same for many programs at once. For operators."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import Any

from asgiref.sync import sync_to_async
from django.http import Http404
from ninja import Field, Query, Router, Schema, Status

from core.rest import auth
from core.rest.auth import AuthedRequest
from programs import feed, services
from programs.action_wait import ActionGoal, wait_for
from programs.models import Program
from programs.payloads import ProgramStatus
from programs.schemas import ActionsIn, ActionsOut, InputIn, ScaleIn, StatusOut
from programs.states import Action

from .definitions import program_or_404, status_or_404

router = Router(tags=["verbs"])
OUTCOMES = {200: StatusOut, 202: StatusOut}


class Wait(Schema):
    wait: float = Field(0, ge=0, le=60, allow_inf_nan=False, description="Seconds to wait for the result")


@router.post("/programs/{int:program_id}/start", auth=auth.OPERATE, response=OUTCOMES)
async def start(request: AuthedRequest, program_id: int, query: Query[Wait]) -> Status[ProgramStatus]:
    """200 once all its instances run, or have run and ended well; 202 with the status when not (yet)."""
    return await _carry_out(request, program_id, Action.START, query.wait)


@router.post("/programs/{int:program_id}/stop", auth=auth.OPERATE, response=OUTCOMES)
async def stop(request: AuthedRequest, program_id: int, query: Query[Wait]) -> Status[ProgramStatus]:
    """200 once it is stopped, 202 with the status when not yet."""
    return await _carry_out(request, program_id, Action.STOP, query.wait)


@router.post("/programs/{int:program_id}/restart", auth=auth.OPERATE, response=OUTCOMES)
async def restart(request: AuthedRequest, program_id: int, query: Query[Wait]) -> Status[ProgramStatus]:
    """200 once other processes than before run, or have run and ended well; 202 when not (yet)."""
    return await _carry_out(request, program_id, Action.RESTART, query.wait)


@router.post("/programs/{int:program_id}/kill", auth=auth.OPERATE, response=OUTCOMES)
async def kill(request: AuthedRequest, program_id: int, query: Query[Wait]) -> Status[ProgramStatus]:
    """Ends it at once, without the stop ladder. 200 once it is stopped, 202 when not yet."""
    return await _carry_out(request, program_id, Action.KILL, query.wait)


async def _carry_out(
    request: AuthedRequest, program_id: int, verb: Action, seconds: float
) -> Status[ProgramStatus]:
    async with AsyncExitStack() as watching:
        changes = await watching.enter_async_context(feed.current().subscribe(urgent=True)) if seconds else None
        goal = ActionGoal(verb, await sync_to_async(_ask)(program_id, verb, request.auth.actor))
        if changes:
            now = await wait_for(goal, changes, seconds)
        else:
            now = await sync_to_async(status_or_404)(program_id)
    if now is None:
        raise Http404(f"The program {program_id} was removed.")
    return Status(200 if goal.is_reached(now) else 202, now)


def _ask(program_id: int, verb: Action, actor: str) -> ProgramStatus:
    """Asks for the verb; the status just before. Raises Http404, ConflictError."""
    program, before = program_or_404(program_id), status_or_404(program_id)
    services.request(program, verb, actor=actor)
    return before


@router.post("/programs/{int:program_id}/input", auth=auth.OPERATE, response={202: StatusOut})
def send_input(request: AuthedRequest, program_id: int, body: InputIn) -> Status[ProgramStatus]:
    """A line for the console of a program whose `stdin` is `console`. End it with a newline."""
    services.send_input(program_or_404(program_id), body.text, actor=request.auth.actor)
    return Status(202, status_or_404(program_id))


@router.post("/programs/{int:program_id}/scale", auth=auth.OPERATE, response={202: StatusOut})
def scale(request: AuthedRequest, program_id: int, body: ScaleIn) -> Status[ProgramStatus]:
    """So many instances, between the definition's `instances_min` and `instances_max`."""
    services.scale(program_or_404(program_id), body.instances, actor=request.auth.actor)
    return Status(202, status_or_404(program_id))


@router.post("/programs/actions", auth=auth.OPERATE, response={202: ActionsOut})
def act_on_many(request: AuthedRequest, body: ActionsIn) -> Status[dict[str, Any]]:
    """One verb for many programs. Each is answered for itself: `accepted`, or why not in `detail`."""
    programs = {program.pk: program for program in _named(body)}
    outcome = services.request_many(programs.values(), body.action, actor=request.auth.actor)
    results = [
        {"id": pk, "name": programs[pk].name, "accepted": detail is None, "detail": detail}
        for pk, detail in outcome.items()
    ]
    for unknown in sorted(set(body.ids) - programs.keys()):
        results.append({"id": unknown, "name": "", "accepted": False, "detail": f"There is no program {unknown}."})
    return Status(202, {"action": body.action, "results": results})


def _named(body: ActionsIn) -> list[Program]:
    programs = Program.objects.select_related("host")
    if body.ids:
        return list(programs.filter(pk__in=body.ids))
    return [program for program in programs if body.all or set(body.tags) & set(program.tags)]
