"""The rules that need several fields, this machine's users and folders, or the host of the program."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, Protocol

from django.core.exceptions import ValidationError

from .syntax import check_placeholders, split_command

MAX_INSTANCES = 1000


class Checked(Protocol):
    """What the rules read of a `models.Program`. List fields may hold anything: their validators report that."""

    @property
    def command(self) -> str: ...
    @property
    def shell(self) -> bool: ...
    @property
    def working_directory(self) -> str: ...
    @property
    def environment(self) -> Any: ...
    @property
    def stdin(self) -> str: ...
    @property
    def user(self) -> str: ...
    @property
    def nice(self) -> int | None: ...
    @property
    def stop_ladder(self) -> Any: ...
    @property
    def instances_max(self) -> int: ...
    @property
    def probes(self) -> Any: ...
    @property
    def is_local(self) -> bool: ...


def check(program: Checked) -> None:
    """Raises one ValidationError that names every field at fault."""
    errors: dict[str, Any] = {}
    for field, rule in _RULES.items():
        try:
            rule(program)
        except ValidationError as error:
            errors[field] = error.messages
    if errors:
        raise ValidationError(errors)


def _command(program: Checked) -> None:
    if "\x00" in program.command:
        raise ValidationError("The command contains a NUL character.")
    if not program.shell:
        split_command(program.command)
    elif not program.command.strip():
        raise ValidationError("The command is empty.")
    check_placeholders(program.command)


def _working_directory(program: Checked) -> None:
    folder = program.working_directory
    if folder and not os.path.isabs(folder):  # noqa: PTH117  (a string test; Path would drop a trailing slash)
        raise ValidationError("Use an absolute path.")
    # Another machine's folders can't be checked from here.
    if folder and program.is_local and not os.path.isdir(folder):  # noqa: PTH112
        raise ValidationError(f"There is no folder {folder}.")


def _user(program: Checked) -> None:
    if not program.user or not program.is_local:
        return
    if os.name != "posix":
        raise ValidationError("Running as another user works on Unix systems only.")
    import pwd

    try:
        account = pwd.getpwnam(program.user)
    except KeyError:
        raise ValidationError(f"There is no user {program.user} on this machine.") from None
    if os.geteuid() not in (0, account.pw_uid):
        raise ValidationError("Only a monitor that runs as root can start programs as another user.")


def _environment(program: Checked) -> None:
    for value in _texts(program.environment, "value"):
        check_placeholders(value)


def _stop_ladder(program: Checked) -> None:
    steps = _texts(program.stop_ladder, "step")
    for step in steps:
        check_placeholders(step)
    if program.stdin != "console" and any(step.startswith("stdin:") for step in steps):
        raise ValidationError("A stdin step needs stdin set to console.")


def _probes(program: Checked) -> None:
    for target in _texts(program.probes, "target"):
        check_placeholders(target)


def _texts(records: Any, key: str) -> list[str]:
    entries = records if isinstance(records, list) else []
    found = [entry.get(key) for entry in entries if isinstance(entry, dict)]
    return [text for text in found if isinstance(text, str)]


def _nice(program: Checked) -> None:
    needs_root = program.nice is not None and program.nice < 0
    if needs_root and os.name == "posix" and os.geteuid() and program.is_local:
        raise ValidationError("Only a monitor that runs as root can use a negative priority.")


def _instances_max(program: Checked) -> None:
    if not 1 <= (program.instances_max or 0) <= MAX_INSTANCES:
        raise ValidationError(f"Must be between 1 and {MAX_INSTANCES} instances.")


_RULES: dict[str, Callable[[Checked], None]] = {
    "command": _command,
    "working_directory": _working_directory,
    "user": _user,
    "environment": _environment,
    "stop_ladder": _stop_ladder,
    "probes": _probes,
    "nice": _nice,
    "instances_max": _instances_max,
}
