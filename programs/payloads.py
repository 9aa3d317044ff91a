"""The JSON that the API and the websockets send about programs. docs/api.md explains the fields."""

from __future__ import annotations

from typing import Any, Literal, TypedDict

from .logs.lines import Line


class ProcessStatus(TypedDict):
    index: int
    state: str
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
    health: str | None
    revision: int


class Instances(TypedDict):
    running: int
    desired: int


class ProgramStatus(TypedDict):
    id: int
    name: str
    state: str
    desired_state: str
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
    instances: Instances
    processes: list[ProcessStatus]
    host: str | None
    tags: list[str]
    revision: int


class Changes(TypedDict):
    programs: list[ProgramStatus]
    removed: list[int]


class StatusReport(TypedDict):
    """`full`: all programs; otherwise those that changed, and the ids of those `removed`."""

    revision: int
    full: bool
    programs: list[ProgramStatus]
    removed: list[int]


class Snapshot(TypedDict):
    type: Literal["snapshot"]
    revision: int
    programs: list[ProgramStatus]


class Delta(TypedDict):
    """What changed after revision `previous`; a client whose revision is older has missed a message."""

    type: Literal["delta"]
    revision: int
    previous: int
    programs: list[ProgramStatus]
    removed: list[int]


class EventMessage(TypedDict):
    type: Literal["event"]
    event: dict[str, Any]


class ErrorMessage(TypedDict):
    type: Literal["error"]
    detail: str


class Lines(TypedDict):
    type: Literal["lines"]
    lines: list[Line]
