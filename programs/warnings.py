"""What is allowed but probably not meant: said beside the field or on the terminal, never a reason to refuse."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _

from programs.definition.syntax import split_command
from programs.models import Program
from programs.placeholders import PlaceholderError, fill

SHELL_SYNTAX = re.compile(r"&&|\|\||[|;<>`]|\$\(|\$\w|&$|(?:^|\s)~/|\*")
QUOTED = re.compile(r"'[^']*'|\"(?:\\.|[^\"\\])*\"")
ODD_CHARACTERS = re.compile(r"[\u201c\u201d\u2018\u2019\u00ab\u00bb\u00a0\u200b-\u200f\u2028\u2029]|[^\S\n ]|\n")


def cautions(program: Program) -> dict[str, list[str]]:
    """Field name → what a person should know about its value. Looks at this machine's disk and users."""
    found = {field: list(look(program)) for field, look in _LOOKS.items()}
    return {field: messages for field, messages in found.items() if messages}


def _command(program: Program) -> Iterator[str]:
    command = program.command.strip()
    if odd := ODD_CHARACTERS.search(command):
        yield _("The command holds %(odd)s, which is easily mistaken for something else.") % {"odd": repr(odd[0])}
    yield from (_in_shell if program.shell else _without_shell)(program, command)


def _in_shell(program: Program, command: str) -> Iterator[str]:
    if command.endswith("&") and not command.endswith("&&"):
        yield _("The command ends with “&”: the shell returns at once, and the program counts as ended.")


def _without_shell(program: Program, command: str) -> Iterator[str]:
    if syntax := SHELL_SYNTAX.search(QUOTED.sub("", command)):
        what = syntax[0].strip()
        yield _("No shell runs, so “%(what)s” is handed to the program as it stands.") % {"what": what}
    try:
        executable = fill(split_command(command)[0], 0)
    except (ValidationError, PlaceholderError):
        return  # an error, which the field says itself
    if program.is_local and not _is_found(executable, program):
        yield _("“%(name)s” is not found, or may not be executed.") % {"name": executable}


def _is_found(executable: str, program: Program) -> bool:
    if "/" in executable:
        executable = str(Path(program.working_directory or settings.DATA_DIR) / executable)
    return shutil.which(executable, path=_search_path(program.environment)) is not None


def _search_path(environment: list[dict[str, Any]]) -> str:
    own = (entry.get("value") for entry in environment if entry.get("name") == "PATH")
    return next(own, None) or os.environ.get("PATH", os.defpath)


def _user(program: Program) -> Iterator[str]:
    if os.name != "posix" or not program.is_local:
        return
    if program.user == "root" or (not program.user and os.geteuid() == 0):
        yield _("It runs as root: a fault in it can harm the whole machine. Give it a user of its own.")


def _restart_policy(program: Program) -> Iterator[str]:
    if program.restart_policy == Program.RestartPolicy.ALWAYS and program.max_restarts == 0:
        yield _("It is restarted for ever, however often it fails.")


_LOOKS: dict[str, Callable[[Program], Iterator[str]]] = {
    "command": _command,
    "user": _user,
    "restart_policy": _restart_policy,
}
