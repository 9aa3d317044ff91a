"""Warnings about a definition that is valid but probably a mistake. Shown by the form and `program add`."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _

from programs.definition.syntax import split_command
from programs.models import Program
from programs.placeholders import PlaceholderError, fill

SHELL_SYNTAX = re.compile(r"&&|\|\||[|;<>`]|\$\(|\$\w|&$|(?:^|\s)~/|\*")
QUOTED = re.compile(r"'[^']*'|\"(?:\\.|[^\"\\])*\"")
# Quotes, spaces and marks that word processors and web pages put into copied commands.
ODD_CHARACTERS = re.compile(r"[\u201c\u201d\u2018\u2019\u00ab\u00bb\u00a0\u200b-\u200f\u2028\u2029]|[^\S\n ]|\n")


def definition_warnings(program: Program) -> dict[str, list[str]]:
    """Field name → warnings. Checks this machine's files and users for a program that runs here."""
    found = {field: list(check(program)) for field, check in _CHECKS.items()}
    return {field: messages for field, messages in found.items() if messages}


def _command(program: Program) -> Iterator[str]:
    command = program.command.strip()
    if odd := ODD_CHARACTERS.search(command):
        yield _("The command contains %(odd)s, which looks like another character.") % {"odd": repr(odd[0])}
    yield from (_in_shell if program.shell else _without_shell)(program, command)


def _in_shell(program: Program, command: str) -> Iterator[str]:
    if command.endswith("&") and not command.endswith("&&"):
        yield _("The command ends with “&”: the shell exits at once, so the program counts as exited.")


def _without_shell(program: Program, command: str) -> Iterator[str]:
    if syntax := SHELL_SYNTAX.search(QUOTED.sub("", command)):
        what = syntax[0].strip()
        yield _("No shell runs, so the program gets “%(what)s” as an argument.") % {"what": what}
    try:
        executable = fill(split_command(command)[0], 0)
    except (ValidationError, PlaceholderError):
        return  # an error, which validation reports
    if program.is_local and not _is_found(executable, program):
        yield _("“%(name)s” was not found, or is not executable.") % {"name": executable}


def _is_found(executable: str, program: Program) -> bool:
    if "/" in executable:
        executable = str(Path(program.working_directory or "/") / executable)
    return shutil.which(executable, path=_search_path(program.environment)) is not None


def _search_path(environment: list[dict[str, Any]]) -> str:
    own = (entry.get("value") for entry in environment if entry.get("name") == "PATH")
    return next(own, None) or os.environ.get("PATH", os.defpath)


def _user(program: Program) -> Iterator[str]:
    if os.name != "posix" or not program.is_local:
        return
    if program.user == "root" or (not program.user and os.geteuid() == 0):
        yield _("It runs as root, so a bug in it can harm the whole machine. Give it a user of its own.")


def _restart_policy(program: Program) -> Iterator[str]:
    if program.restart_policy == Program.RestartPolicy.ALWAYS and program.max_restarts == 0:
        yield _("It is restarted without end, however often it fails.")


_CHECKS: dict[str, Callable[[Program], Iterator[str]]] = {
    "command": _command,
    "user": _user,
    "restart_policy": _restart_policy,
}
