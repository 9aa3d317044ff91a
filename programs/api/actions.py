"""Start, stop, restart, kill; input, scaling and the same for many programs at once. For operators."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import Any

from asgiref.sync import sync_to_async
from django.http import Http404
from ninja import Field, Query, Router, Schema, Status

from core.rest import auth
from core.rest.auth import AuthedRequest
from programs import feed, services
from programs.action_outcome import OUTCOMES, ActionOutcome, ActionRequest, OutcomeCheck
from programs.feed import Subscription
from programs.models import Program
from programs.payloads import ProgramStatus
from programs.schemas import ActionsIn, ActionsOut, InputIn, ScaleIn, StatusOut
from programs.states import Action
from programs.status import one_program

from .definitions import program_or_404, status_or_404

router = Router(tags=["verbs"])
RESPONSES = {200: StatusOut, 202: StatusOut}
# The longest delay for a change that sends no wake-up signal and has no new revision.
POLL_SECONDS = 0.5


class Wait(Schema):
    wait: float = Field(0, ge=0, le=60, allow_inf_nan=False, description="Seconds to wait for the outcome")


@router.post("/programs/{int:program_id}/start", auth=auth.OPERATE, response=RESPONSES)
async def start(request: AuthedRequest, program_id: int, query: Query[Wait]) -> Status[ProgramStatus]:
    """200 once all its instances run, or have exited successfully; 202 with the status otherwise."""
    return await _act(request, program_id, Action.START, query.wait)


@router.post("/programs/{int:program_id}/stop", auth=auth.OPERATE, response=RESPONSES)
async def stop(request: AuthedRequest, program_id: int, query: Query[Wait]) -> Status[ProgramStatus]:
    """200 once it is stopped; 202 with the status otherwise."""
    return await _act(request, program_id, Action.STOP, query.wait)


@router.post("/programs/{int:program_id}/restart", auth=auth.OPERATE, response=RESPONSES)
async def restart(request: AuthedRequest, program_id: int, query: Query[Wait]) -> Status[ProgramStatus]:
    """200 once new processes run, or have exited successfully; 202 with the status otherwise."""
    return await _act(request, program_id, Action.RESTART, query.wait)


@router.post("/programs/{int:program_id}/kill", auth=auth.OPERATE, response=RESPONSES)
async def kill(request: AuthedRequest, program_id: int, query: Query[Wait]) -> Status[ProgramStatus]:
    """Sends SIGKILL at once, without the stop steps. 200 once it is stopped; 202 with the status otherwise."""
    return await _act(request, program_id, Action.KILL, query.wait)


async def _act(request: AuthedRequest, program_id: int, action: Action, seconds: float) -> Status[ProgramStatus]:
    async with AsyncExitStack() as watching:
        changes = await watching.enter_async_context(feed.current().subscribe(urgent=True)) if seconds else None
        asked = await sync_to_async(_request)(program_id, action, request.auth.actor)
        now, outcome = await _wait(asked, OUTCOMES[action], changes, seconds)
    # A failure is no conflict: the action was accepted. Its status says why it failed.
    return Status(200 if outcome and outcome.is_reached else 202, now)


def _request(program_id: int, action: Action, actor: str) -> ActionRequest:
    program, before = program_or_404(program_id), status_or_404(program_id)
    services.request(program, action, actor=actor)
    return ActionRequest(before, program.success_exit_codes)


async def _wait(
    asked: ActionRequest, check: OutcomeCheck, changes: Subscription | None, seconds: float
) -> tuple[ProgramStatus, ActionOutcome | None]:
    """The status once the outcome is known, at the latest after `seconds`. Raises Http404: it was removed."""
    deadline = asyncio.get_running_loop().time() + seconds
    now = await _status(asked.before["id"])
    while (outcome := check(asked, now)) is None and changes is not None:
        left = deadline - asyncio.get_running_loop().time()
        if left <= 0:
            break
        now = await _next_status(now, changes, min(left, POLL_SECONDS))
    return now, outcome


async def _status(program_id: int) -> ProgramStatus:
    status = await sync_to_async(one_program)(program_id)
    if status is None:
        raise Http404(f"The program {program_id} was removed.")
    return status


async def _next_status(now: ProgramStatus, changes: Subscription, seconds: float) -> ProgramStatus:
    try:
        message = await asyncio.wait_for(changes.get(), seconds)
    except TimeoutError:
        message = None
    if message is None:
        return await _status(now["id"])
    found = message.programs.get(now["id"], now)
    # The subscription is older than the request, so its first messages may be too.
    return found if found["revision"] >= now["revision"] else now


@router.post("/programs/{int:program_id}/input", auth=auth.OPERATE, response={202: StatusOut})
def send_input(request: AuthedRequest, program_id: int, body: InputIn) -> Status[ProgramStatus]:
    """Sends text to the console of a program whose `stdin` is `console`. End it with a newline."""
    services.send_input(program_or_404(program_id), body.text, actor=request.auth.actor)
    return Status(202, status_or_404(program_id))


@router.post("/programs/{int:program_id}/scale", auth=auth.OPERATE, response={202: StatusOut})
def scale(request: AuthedRequest, program_id: int, body: ScaleIn) -> Status[ProgramStatus]:
    """Sets how many instances run, between the definition's `instances_min` and `instances_max`."""
    services.scale(program_or_404(program_id), body.instances, actor=request.auth.actor)
    return Status(202, status_or_404(program_id))


@router.post("/programs/actions", auth=auth.OPERATE, response={202: ActionsOut})
def act_on_many(request: AuthedRequest, body: ActionsIn) -> Status[dict[str, Any]]:
    """The same action for many programs. Each has a result: `accepted`, or the reason in `detail`."""
    programs = {program.pk: program for program in _selected(body)}
    refusals = services.request_many(programs.values(), body.action, actor=request.auth.actor)
    results = [
        {"id": pk, "name": programs[pk].name, "accepted": detail is None, "detail": detail}
        for pk, detail in refusals.items()
    ]
    for unknown in sorted(set(body.ids) - programs.keys()):
        results.append({"id": unknown, "name": "", "accepted": False, "detail": f"There is no program {unknown}."})
    return Status(202, {"action": body.action, "results": results})


def _selected(body: ActionsIn) -> list[Program]:
    programs = Program.objects.select_related("host")
    if body.ids:
        return list(programs.filter(pk__in=body.ids))
    return [program for program in programs if body.all or set(body.tags) & set(program.tags)]
