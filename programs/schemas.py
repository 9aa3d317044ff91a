"""Schemas of the routes about programs, besides those of a definition (`definition.schemas`)."""

from __future__ import annotations

from typing import Any, Literal

from ninja import Field, Schema
from pydantic import model_validator

from core.rest.inputs import Identifier, Input, QueryIdentifier, SearchText, StrictBool, Text, Timestamp, Whole
from core.rest.lists import ListQuery

from .states import Action, State


class KeptValue(Input):
    """Stands for a stored secret value that stays unchanged."""

    set: Literal[True]


class ProgramListing(ListQuery):
    tag: SearchText = Field("", description="Only programs with this tag")
    host: SearchText = Field("", description="Only programs of this host")
    state: State | None = Field(None, description="Only programs in this state")


class PageOut(Schema):
    """The items have the fields selected with `fields`."""

    items: list[dict[str, Any]]
    count: int
    page: int
    per_page: int


# --- Status and actions ---------------------------------------------------------------------------------


class InstancesOut(Schema):
    running: int
    desired: int


class ProcessOut(Schema):
    index: int
    state: State
    reason: str
    pid: int | None
    cpu_percent: float = Field(description="Percent of one core, summed over the process tree")
    memory_bytes: int
    threads: int
    started_at: str | None
    uptime_seconds: int | None
    next_start_at: str | None
    restarts: int
    exit_code: int | None
    exit_signal: str | None
    health: str | None
    revision: int


class StatusOut(Schema):
    """`pid`, times, reason and exit are of the process that most needs attention; the numbers are sums."""

    id: int
    name: str
    state: State
    desired_state: Literal["running", "stopped"]
    health: str | None
    reason: str
    pid: int | None
    cpu_percent: float
    memory_bytes: int
    threads: int
    started_at: str | None
    uptime_seconds: int | None
    next_start_at: str | None
    restarts: int
    exit_code: int | None
    exit_signal: str | None
    instances: InstancesOut
    processes: list[ProcessOut]
    host: str | None
    tags: list[str]
    revision: int


class ReportOut(Schema):
    revision: int = Field(description="Send it as `since` in the next request")
    full: bool = Field(description="All programs; false: only those that changed")
    programs: list[StatusOut]
    removed: list[int]


class InputIn(Input):
    text: Text


class ScaleIn(Input):
    instances: Whole


class ActionsIn(Input):
    """An action for many programs: those in `ids`, those with one of `tags`, or `all` of them."""

    action: Action
    ids: list[Identifier] = Field([], max_length=1000)
    tags: list[Text] = Field([], max_length=100)
    all: StrictBool = False

    @model_validator(mode="after")
    def _selects_in_one_way(self) -> ActionsIn:
        if bool(self.ids) + bool(self.tags) + self.all != 1:
            raise ValueError("select programs with exactly one of ids, tags, or all set to true")
        return self


class ActionResult(Schema):
    id: int
    name: str
    accepted: bool
    detail: str | None = Field(description="The reason of a refusal")


class ActionsOut(Schema):
    action: Action
    results: list[ActionResult]


# --- Events, incidents, logs ----------------------------------------------------------------------------


class NamedProgram(Schema):
    id: int | None
    name: str


class EventOut(Schema):
    id: str
    seq: int
    type: str
    severity: str
    program: NamedProgram | None
    process: int | None
    timestamp: str
    actor: str
    data: dict[str, Any]


class EventListing(ListQuery):
    type: str = Field("", max_length=500, description="One or several, with commas; `program.*` for a whole area")
    severity: str = Field("", max_length=50, description="info, warning, error; several with commas")
    since: Timestamp | None = Field(None, description="From this moment on")
    until: Timestamp | None = Field(None, description="Up to this moment, not including it")


class AllEventsListing(EventListing):
    program: QueryIdentifier | None = Field(None, description="Only events of the program with this id")


class IncidentListing(AllEventsListing):
    fingerprint: SearchText = Field("", description="Only incidents alike: same program, same end")


class IncidentOut(Schema):
    id: int
    event: str
    program: NamedProgram
    process: int
    timestamp: str
    exit_code: int | None
    exit_signal: str | None
    meaning: str
    out_of_memory: bool
    uptime_seconds: float | None
    fingerprint: str


class IncidentDetail(IncidentOut):
    log_lines: list[Any]
    metrics_before: Any
    changes_before: list[Any]


class LineOut(Schema):
    time: str | None
    text: str
    instance: int | None = Field(None, description="Given when the lines of several instances are merged")


class LinesOut(Schema):
    lines: list[LineOut]
    truncated: bool = Field(description="There are more lines that fit")


class FoundLineOut(LineOut):
    program: NamedProgram


class FoundLinesOut(Schema):
    lines: list[FoundLineOut]
    truncated: bool
