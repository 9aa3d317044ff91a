"""What the routes about programs take and give, for checking input and for the OpenAPI page."""

from __future__ import annotations

from typing import Any, Literal

from ninja import Field, Schema
from pydantic import model_validator

from core.rest.inputs import Flag, Identifier, Input, Moment, QueryIdentifier, SearchText, Text, Whole
from core.rest.lists import Listing

from .states import Action, State


class KeptValue(Input):
    """Stands for a secret value that is stored and stays as it is."""

    set: Literal[True]


class ProgramListing(Listing):
    tag: SearchText = Field("", description="Only programs with this tag")
    host: SearchText = Field("", description="Only programs of this host")
    state: State | None = Field(None, description="Only programs in this state")


class PageOut(Schema):
    """`fields` decides what the items hold."""

    items: list[dict[str, Any]]
    count: int
    page: int
    per_page: int


# --- Status and verbs -----------------------------------------------------------------------------------


class InstancesOut(Schema):
    running: int
    desired: int


class ProcessOut(Schema):
    index: int
    state: State
    reason: str
    pid: int | None
    cpu_percent: float = Field(description="Of one core, over the process and what it started")
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
    """`pid`, times, reason and exit are those of the process that most needs attention, the figures are sums."""

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
    revision: int = Field(description="Give it as `since` the next time")
    full: bool = Field(description="These are all programs; otherwise only those that changed")
    programs: list[StatusOut]
    removed: list[int]


class InputIn(Input):
    text: Text


class ScaleIn(Input):
    instances: Whole


class ActionsIn(Input):
    """One verb for many programs: those in `ids`, those with one of `tags`, or `all` of them."""

    action: Action
    ids: list[Identifier] = Field([], max_length=1000)
    tags: list[Text] = Field([], max_length=100)
    all: Flag = False

    @model_validator(mode="after")
    def _names_programs_once(self) -> ActionsIn:
        if bool(self.ids) + bool(self.tags) + self.all != 1:
            raise ValueError("name the programs by ids, by tags, or with all set to true: exactly one of them")
        return self


class ActionResult(Schema):
    id: int
    name: str
    accepted: bool
    detail: str | None = Field(description="Why it was refused")


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


class EventListing(Listing):
    type: str = Field("", max_length=500, description="One or several, with commas; `program.*` for a whole area")
    severity: str = Field("", max_length=50, description="info, warning, error; several with commas")
    since: Moment | None = Field(None, description="From this moment on")
    until: Moment | None = Field(None, description="Up to this moment, not including it")


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
