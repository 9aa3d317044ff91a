# ruff: noqa: RUF009  (the calls in class Definition return dataclass fields, not shared defaults)
"""The fields of a definition: each with its type, default, help text, and when a change takes effect.

A new field is a line here and a column of `models.Program`. The API's schemas, the YAML format, the options of
`program add`, the form and the exports follow; `tests/test_definition_fields.py` says what is still missing.
Pure on purpose: the agent and every command load it, so it must not load pydantic.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

from django.db.models import TextChoices
from django.utils.translation import gettext_lazy as _

from .types import MISSING, Bytes, Mark, Seconds, fields_of, plain
from .values import DependencyEntry, EnvironmentEntry, Probe, StopStep

T = TypeVar("T")
REQUIRED = MISSING


class RestartPolicy(TextChoices):
    ALWAYS = "always", _("Always")
    ON_FAILURE = "on-failure", _("On failure")
    NEVER = "never", _("Never")


class Stdin(TextChoices):
    NULL = "null", _("None")
    CONSOLE = "console", _("Console: you can send lines to it")


def _live(default: T, help_text: Any) -> T:
    """A field whose changes take effect at once."""
    return _field(default, help_text, "live")


def _at_restart(default: T, help_text: Any) -> T:
    """A field whose changes wait for the next restart of the program."""
    return _field(default, help_text, "restart")


def _field(default: T, help_text: Any, applies: str) -> T:
    """What `dataclasses.field` returns, under the type of the default. MISSING: a required field."""
    metadata = {"help": help_text, "applies": applies}
    if isinstance(default, list):
        return field(default_factory=partial(copy.copy, default), metadata=metadata)
    return field(default=default, metadata=metadata)


@dataclass(frozen=True, kw_only=True)
class Definition:
    """Field by field the JSON of POST /api/programs. docs/programs.md explains each at length."""

    name: str = _live(REQUIRED, _("Unique name; no slashes."))
    command: str = _at_restart(
        REQUIRED,
        _(
            "Split into words like in a shell, but no shell runs. {instance} becomes 0, 1, 2 …; "
            "{instance+8100} becomes 8100, 8101 …"
        ),
    )
    shell: bool = _at_restart(False, _("Run the command in /bin/sh, for pipes and variables."))
    description: str = _live("", _("What the program is for, and who to ask about it."))
    tags: list[str] = _live([], _("Words to filter by and to act on many programs, such as web, prod."))
    host: str | None = _at_restart(None, _("The host that runs the program. Default: the first host."))
    working_directory: str = _at_restart(
        "", _("Absolute path of the folder it starts in. Default: a folder of its own.")
    )
    environment: list[EnvironmentEntry] = _at_restart(
        [],
        _(
            "Added to PATH, HOME, USER, LANG, TZ and SHELL; the monitor's own variables are not inherited. "
            "Secret values are stored encrypted and never shown again."
        ),
    )
    stdin: Stdin = _at_restart(Stdin.NULL, _("With a console you can send lines to it, as game servers expect."))
    user: str = _at_restart(
        "", _("Run as this user; needs a monitor that runs as root. Default: the monitor's user.")
    )
    umask: str | None = _at_restart(
        None,
        _("Three octal digits: with 022 others can read new files but not write them. Default: the monitor's."),
    )
    nice: int | None = _at_restart(
        None, _("CPU priority from -20 (highest) to 19 (lowest). Default: the monitor's.")
    )
    max_open_files: int | None = _at_restart(
        None, _("Limit of open files and sockets per instance. Default: the system's limit.")
    )
    max_memory_bytes: Bytes | None = _live(
        None, _("Restart an instance whose process tree uses more memory than this. Default: no limit.")
    )
    autostart: bool = _live(True, _("Start it when it is created and when the machine boots."))
    restart_policy: RestartPolicy = _live(
        RestartPolicy.ON_FAILURE,
        _("What to do when it exits: with on-failure it restarts unless the exit code is a successful one."),
    )
    success_exit_codes: list[int] = _live([0], _("Exit codes that are not a failure."))
    start_seconds: Seconds = _live(
        1, _("It counts as running after this time; an earlier exit is a failed start.")
    )
    backoff_initial: Seconds = _live(1, _("Delay before the second restart; the first one is immediate."))
    backoff_factor: float = _live(2, _("Each further delay is longer by this factor: 2 doubles it."))
    backoff_max: Seconds = _live(300, _("The longest delay between two restarts."))
    backoff_jitter: float = _live(
        0.2, _("Random part of each delay, so that programs don't restart all at once: 0.2 is ±20 %.")
    )
    stable_seconds: Seconds = _live(
        600, _("After this time without a failure the delays start from the first again.")
    )
    max_restarts: int = _live(10, _("Give up after this many restarts within the window below. 0: never give up."))
    restart_window: Seconds = _live(600, _("Older restarts don't count towards the limit."))
    restart_cron: str = _live(
        "",
        _(
            "Restart on this schedule: minute, hour, day, month, weekday. 0 4 * * * is daily at 04:00, "
            "by the machine's clock."
        ),
    )
    stop_ladder: list[StopStep] = _live(
        [StopStep("signal:TERM", 10)],
        _("Steps to stop it, tried in order. SIGKILL to the whole process tree follows the last one."),
    )
    instances_min: int = _live(1, _("How many instances always run."))
    instances_max: int = _live(1, _("How many instances can run, after scaling by hand or by CPU load."))
    scale_cpu_percent: float | None = _live(
        None,
        _("Add an instance above this average CPU load, remove one well below it. Default: scale by hand only."),
    )
    depends_on: list[DependencyEntry] = _live([], _("Start it only after these programs are started, or healthy."))
    probes: list[Probe] = _live(
        [],
        _("A failed liveness probe restarts the instance; readiness tells dependent programs that it is healthy."),
    )
    log_max_bytes: Bytes = _live(50 * 1024 * 1024, _("Rotate the log at this size."))
    log_backups: int = _live(10, _("How many rotated logs to keep; the oldest is deleted first."))
    log_compress: bool = _live(True, _("Compress rotated logs."))


INFO = {info.name: info for info in fields_of(Definition)}
FIELDS = tuple(INFO)
# The columns of `Program` that hold a field as it is; the others are converted.
PLAIN_FIELDS = tuple(name for name in FIELDS if name not in ("host", "environment", "depends_on"))
HELP: Mapping[str, Any] = {name: info.metadata["help"] for name, info in INFO.items()}
RESTART_FIELDS = frozenset(name for name, info in INFO.items() if info.metadata["applies"] == "restart")

DEFAULTS = Definition(name="", command="")


def defaults() -> dict[str, Any]:
    """The definition's JSON with every default, without the required fields; the caller may change it."""
    return {name: plain(info.default) for name, info in INFO.items() if not info.is_required}


def marked(mark: Mark) -> tuple[str, ...]:
    return tuple(name for name, info in INFO.items() if info.type.mark is mark)


def applies(name: str) -> str:
    return "restart" if name in RESTART_FIELDS else "live"


# Migrations need the defaults of list columns as functions that they can import.


def default_success_exit_codes() -> list[int]:
    return list(DEFAULTS.success_exit_codes)


def default_stop_ladder() -> list[dict[str, Any]]:
    return [step.as_json() for step in DEFAULTS.stop_ladder]
