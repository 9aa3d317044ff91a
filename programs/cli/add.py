"""`program add`: creates a program from options, from JSON, or from both."""

from __future__ import annotations

import getpass
import os
import shlex
from argparse import REMAINDER, ArgumentParser
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from django.conf import settings

from core.access import command_actor
from core.cli.exit_codes import Exit, FailedError, UsageError
from core.cli.json_input import json_object
from core.cli.subcommand import Subcommand
from core.cli.terminal import Options, Terminal
from programs import services, status
from programs.definition.conversion import definition_json
from programs.definition.fields import HELP
from programs.states import State
from programs.warnings import definition_warnings

from .argv import ArgumentSplitter
from .field_options import field_options, given_values, with_secrets
from .wait import agent_lost_text

EXPECTED = 'one definition, {"name": …, "command": …}'


class Add(Subcommand):
    def __init__(self) -> None:
        self._fields = field_options()

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.usage = "%(prog)s [OPTIONS] NAME [--] COMMAND …  |  --json FILE [OPTIONS]"
        parser.epilog = (
            "Write options before NAME or before --; everything after COMMAND belongs to the command. "
            "Guide: docs/commands.md"
        )
        parser.add_argument("name", nargs="?", metavar="NAME", help=str(HELP["name"]))
        parser.add_argument(
            "command", nargs=REMAINDER, metavar="COMMAND", help="the command and its arguments, or one quoted text"
        )
        parser.add_argument(
            "--json", metavar="FILE", help="read the API's JSON from FILE, - for stdin; options override it"
        )
        parser.add_argument("--dry-run", action="store_true", help="validate and print it, save nothing")
        parser.add_argument(
            "--secret-env",
            action="append",
            default=[],
            metavar="NAME",
            help="a variable stored encrypted; its value is read from this command's environment or from stdin",
        )
        for option in self._fields:
            option.add_to(parser)

    def arranged(self, words: Sequence[str]) -> list[str]:
        valued = [option.flag for option in self._fields if not option.is_switch]
        switches = [option.flag for option in self._fields if option.is_switch]
        negated = [flag.replace("--", "--no-", 1) for flag in switches]
        splitter = ArgumentSplitter([*valued, "--json", "--secret-env"], [*switches, *negated, "--dry-run"])
        return splitter.arranged(words)

    def run(self, options: Options, terminal: Terminal) -> Exit:
        values = with_secrets(self._values(options, terminal), _secrets(options, terminal))
        if missing := [field for field in ("name", "command") if field not in values]:
            raise UsageError(f"Missing: {' and '.join(missing)}.")
        if options.command and "working_directory" not in values and (folder := _current_folder(terminal)):
            values["working_directory"] = folder
            terminal.warn(f"It will run in {folder}. Choose another folder with --working-directory.")
        saved = services.save_definition(values, actor=command_actor(), dry_run=options.dry_run)
        for field, notes in definition_warnings(saved.program).items():
            terminal.warn(f"warning: {field}: {' '.join(notes)}")
        if options.dry_run:
            terminal.json(definition_json(saved.program))
            return Exit.DONE
        terminal.say(f"{saved.program.name}: added (id {saved.program.pk})")
        found = status.one_program(saved.program.pk)
        if found and found["state"] == State.UNKNOWN and saved.program.autostart:
            terminal.warn(f"It will start later: {agent_lost_text(found['host'])}")
        return Exit.DONE

    def _values(self, options: Options, terminal: Terminal) -> dict[str, Any]:
        values = json_object(options.json, terminal, EXPECTED) if options.json else {}
        if options.name is not None:
            values["name"] = options.name
        if options.command:
            values["command"] = _command(options.command, is_shell=bool(options.field_shell))
        return values | given_values(options, self._fields)


def _current_folder(terminal: Terminal) -> str:
    """The folder of the person at the terminal; empty for scripts, and where it is or holds the data folder."""
    if not terminal.is_interactive:
        return ""
    try:
        folder, data = Path.cwd(), Path(settings.DATA_DIR).resolve()
    except FileNotFoundError:  # removed meanwhile
        return ""
    overlaps = folder == data or folder in data.parents or data in folder.parents
    return "" if overlaps else str(folder)


def _command(words: Sequence[str], *, is_shell: bool) -> str:
    """One word is a whole command, typed in quotes; several are quoted to split in the same way again."""
    if len(words) == 1:
        return words[0]
    # A shell must see `$HOME` and `|` as they were typed, so nothing is quoted for it.
    return " ".join(words) if is_shell else shlex.join(words)


def _secrets(options: Options, terminal: Terminal) -> dict[str, str]:
    return {name: _secret(name, options, terminal) for name in options.secret_env}


def _secret(name: str, options: Options, terminal: Terminal) -> str:
    """Reads it from this command's environment, or asks without an echo, or takes the next line of stdin."""
    if name in os.environ:
        return os.environ[name]
    if options.json == "-":
        raise UsageError(f"stdin is the definition, so set {name} in the environment of this command.")
    if terminal.is_interactive:
        return getpass.getpass(f"Value of {name}: ")
    line = terminal.stdin.readline()
    if not line:
        raise FailedError(f"{name} has no value. Set it in the environment of this command, or send it on stdin.")
    return line.removesuffix("\n").removesuffix("\r")
