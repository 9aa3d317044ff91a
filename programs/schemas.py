"""What the routes about programs take and give, for checking input and for the OpenAPI page."""

from __future__ import annotations

from typing import Any, Literal

from ninja import Field, Schema
from pydantic import model_validator

from core.rest.inputs import (
    Identifier,
    Input,
    Number,
    QueryIdentifier,
    SearchText,
    StrictBool,
    Text,
    Timestamp,
    Whole,
)
from core.rest.lists import ListQuery

from .states import Action, State

# --- Definitions ----------------------------------------------------------------------------------------


class KeptValue(Input):
    """Stands for a secret value that is stored and stays as it is."""

    set: Literal[True]


class Variable(Input):
    name: Text
    value: Text | KeptValue
    secret: StrictBool = False


class StopStep(Input):
    step: Text
    seconds: Number


class DependencyIn(Input):
    program: Text
    condition: Literal["started", "healthy"] = "started"


class ProbeIn(Input):
    kind: Literal["http", "tcp", "exec", "log"]
    target: Text
    purpose: Literal["liveness", "readiness"] = "liveness"
    period: Number = 10
    timeout: Number = 1
    failures: Whole = 3


class ChangesIn(Input):
    """Some fields of a definition. What each means: docs/programs.md."""

    name: Text = ""
    command: Text = ""
    shell: StrictBool = False
    description: Text = ""
    tags: list[Text] = []
    host: Text | None = None
    working_directory: Text = ""
    environment: list[Variable] = []
    stdin: Literal["null", "console"] = "null"
    user: Text = ""
    umask: Text | None = None
    nice: Whole | None = None
    max_open_files: Whole | None = None
    max_memory_bytes: Whole | None = None
    autostart: StrictBool = True
    restart_policy: Literal["always", "on-failure", "never"] = "on-failure"
    success_exit_codes: list[Whole] = [0]
    start_seconds: Number = 1
    backoff_initial: Number = 1
    backoff_factor: Number = 2
    backoff_max: Number = 300
    backoff_jitter: Number = 0.2
    stable_seconds: Number = 600
    max_restarts: Whole = 10
    restart_window: Number = 600
    restart_cron: Text = ""
    stop_ladder: list[StopStep] = [StopStep(step="signal:TERM", seconds=10)]
    instances_min: Whole = 1
    instances_max: Whole = 1
    scale_cpu_percent: Number | None = None
    depends_on: list[DependencyIn] = []
    probes: list[ProbeIn] = []
    log_max_bytes: Whole = 52_428_800
    log_backups: Whole = 10
    log_compress: StrictBool = True


class DefinitionIn(ChangesIn):
    """A whole definition: what is left out has its default."""

    name: Text
    command: Text


class InstancesOut(Schema):
    running: int
    desired: int


class DefinitionOut(Schema):
    """The definition, and how the program does at this moment."""

    id: int
    name: str
    command: str
    shell: bool
    description: str
    tags: list[str]
    host: str | None
    working_directory: str
    environment: list[dict[str, Any]]
    stdin: str
    user: str
    umask: str | None
    nice: int | None
    max_open_files: int | None
    max_memory_bytes: int | None
    autostart: bool
    restart_policy: str
    success_exit_codes: list[int]
    start_seconds: float
    backoff_initial: float
    backoff_factor: float
    backoff_max: float
    backoff_jitter: float
    stable_seconds: float
    max_restarts: int
    restart_window: float
    restart_cron: str
    stop_ladder: list[dict[str, Any]]
    instances_min: int
    instances_max: int
    scale_cpu_percent: float | None
    depends_on: list[dict[str, Any]]
    probes: list[dict[str, Any]]
    log_max_bytes: int
    log_backups: int
    log_compress: bool
    state: str
    desired_state: str
    health: str | None
    instances: InstancesOut
    revision: int
    created_at: str


class PreviewOut(DefinitionOut):
    """A program that was only tried out."""

    id: None  # type: ignore[assignment]  # narrower in meaning, not in type


class ChangedOut(DefinitionOut):
    applies: dict[str, Literal["live", "restart"]]


class ProgramListing(ListQuery):
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
    all: StrictBool = False

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
