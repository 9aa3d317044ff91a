"""`/programs`: definitions. Writing one means running any command, so it takes an administrator."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.http import Http404, HttpRequest, HttpResponse
from ninja import Query, Router, Status

from core.rest import auth
from core.rest.auth import AuthedRequest
from core.rest.lists import ListPage
from core.timeformat import iso
from programs import services
from programs import status as live
from programs.definition.conversion import definition_json
from programs.definition.fields import FIELDS
from programs.definition.schemas import ChangedOut, ChangesIn, DefinitionIn, DefinitionOut, PreviewOut
from programs.models import Program
from programs.payloads import ProgramStatus
from programs.schemas import PageOut, ProgramListing

from . import pages

router = Router(tags=["programs"])
LIVE_FIELDS = ("state", "desired_state", "health", "instances", "revision")
FIELDS = ("id", *FIELDS, *LIVE_FIELDS, "created_at")
SORTABLE = ("id", "name", "state", "cpu_percent", "memory_bytes", "restarts", "started_at", "host", "revision")


def program_or_404(program_id: int) -> Program:
    program = pages.with_dependencies().filter(pk=program_id).first()
    if program is None:
        raise Http404(f"There is no program {program_id}.")
    return program


def status_or_404(program_id: int) -> ProgramStatus:
    status = live.one_program(program_id)
    if status is None:
        raise Http404(f"There is no program {program_id}.")
    return status


@router.get("/programs", auth=auth.READ, response=PageOut)
def list_programs(request: HttpRequest, listing: Query[ProgramListing]) -> ListPage:
    """Definitions with their current state. `search` matches name, description and command."""
    columns = listing.order({name: name for name in SORTABLE}, "name")
    fields = listing.selected_fields(FIELDS)
    found, count = pages.page(listing, columns)
    return listing.page_response([_program_json(program, status) for program, status in found], count, fields)


@router.post("/programs", auth=auth.ADMIN, response={201: DefinitionOut, 200: PreviewOut})
def create_program(
    request: AuthedRequest, response: HttpResponse, body: DefinitionIn, dry_run: bool = False
) -> Status[dict[str, Any]]:
    """Creates a program, and starts it unless `autostart` is false. `dry_run` only validates and answers 200."""
    saved = services.save_definition(
        body.model_dump(exclude_unset=True), actor=request.auth.actor, dry_run=dry_run
    )
    if dry_run:
        live_fields = {**NOT_CREATED, "desired_state": saved.program.desired_state}
        return Status(200, {**_program_json(saved.program, live_fields), "id": None})
    response["Location"] = f"{request.path}/{saved.program.pk}"
    return Status(201, _program_json(saved.program, status_or_404(saved.program.pk)))


@router.get("/programs/{int:program_id}", auth=auth.READ, response=DefinitionOut)
def get_program(request: HttpRequest, program_id: int) -> dict[str, Any]:
    return _program_json(program_or_404(program_id), status_or_404(program_id))


@router.patch("/programs/{int:program_id}", auth=auth.ADMIN, response=ChangedOut)
def change_program(
    request: AuthedRequest, program_id: int, body: ChangesIn, dry_run: bool = False
) -> dict[str, Any]:
    """Changes the given fields. `applies`: whether each takes effect `live` or at the next `restart`."""
    return _save(request, program_id, body.model_dump(exclude_unset=True), dry_run)


@router.put("/programs/{int:program_id}", auth=auth.ADMIN, response=ChangedOut)
def replace_program(
    request: AuthedRequest, program_id: int, body: DefinitionIn, dry_run: bool = False
) -> dict[str, Any]:
    """Replaces the whole definition: fields that are left out get their defaults."""
    return _save(request, program_id, body.model_dump(), dry_run)


def _save(request: AuthedRequest, program_id: int, values: Mapping[str, Any], dry_run: bool) -> dict[str, Any]:
    program = program_or_404(program_id)
    saved = services.save_definition(values, actor=request.auth.actor, program=program, dry_run=dry_run)
    return {**_program_json(saved.program, status_or_404(program_id)), "applies": saved.applies}


@router.delete("/programs/{int:program_id}", auth=auth.ADMIN, response={204: None})
def remove_program(request: AuthedRequest, program_id: int) -> Status[None]:
    """Stops and deletes the program. Its events stay."""
    services.remove(program_or_404(program_id), actor=request.auth.actor)
    return Status(204, None)


def _program_json(program: Program, status: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "id": program.pk,
        **definition_json(program),
        **{name: status[name] for name in LIVE_FIELDS},
        "created_at": iso(program.created_at),
    }


# The live fields of a program that was validated only.
NOT_CREATED: dict[str, Any] = {
    "state": "stopped",
    "desired_state": "stopped",
    "health": None,
    "instances": {"running": 0, "desired": 0},
    "revision": 0,
}
