"""`program add`: a definition from the command line, from JSON, or from both."""

from __future__ import annotations

import getpass
import os
import shlex
from argparse import REMAINDER, ArgumentParser
from collections.abc import Sequence
from typing import Any

from core.access import command_actor
from core.cli.exit_codes import Exit, FailedError, UsageError
from core.cli.json_input import json_object
from core.cli.subcommand import Subcommand
from core.cli.terminal import Options, Terminal
from programs import services, status
from programs.definition.conversion import definition_json
from programs.states import State
from programs.warnings import cautions

from .argv import WordOrder
from .field_options import field_options, given, with_secrets
from .wait import silent_text

EXPECTED = 'one definition, {"name": …, "command": …}'


class Add(Subcommand):
    def __init__(self) -> None:
        self._fields = field_options()

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.usage = "%(prog)s [OPTIONS] NAME [--] COMMAND …  |  --json FILE [OPTIONS]"
        parser.epilog = (
            "Options go before NAME or before --; what follows COMMAND is its own. Guide: docs/commands.md"
        )
        parser.add_argument("name", nargs="?", metavar="NAME", help="how it is called everywhere")
        parser.add_argument("command", nargs=REMAINDER, metavar="COMMAND", help="its words, or one quoted text")
        parser.add_argument(
            "--json", metavar="FILE", help="the definition as in the API, - for stdin; options win"
        )
        parser.add_argument("--dry-run", action="store_true", help="check it and show it, keep nothing")
        parser.add_argument(
            "--secret-env",
            action="append",
            default=[],
            metavar="NAME",
            help="a variable kept encrypted; its value comes from this command's environment or from stdin",
        )
        for option in self._fields:
            option.add_to(parser)

    def arranged(self, words: Sequence[str]) -> list[str]:
        valued = [option.flag for option in self._fields if not option.is_switch]
        switches = [option.flag for option in self._fields if option.is_switch]
        negated = [flag.replace("--", "--no-", 1) for flag in switches]
        order = WordOrder([*valued, "--json", "--secret-env"], [*switches, *negated, "--dry-run"])
        return order.arranged(words)

    def run(self, options: Options, terminal: Terminal) -> Exit:
        values = with_secrets(self._values(options, terminal), _secrets(options, terminal))
        if missing := [field for field in ("name", "command") if field not in values]:
            raise UsageError(f"A program needs {' and '.join(missing)}.")
        saved = services.save_definition(values, actor=command_actor(), dry_run=options.dry_run)
        for field, notes in cautions(saved.program).items():
            terminal.warn(f"warning: {field}: {' '.join(notes)}")
        if options.dry_run:
            terminal.json(definition_json(saved.program))
            return Exit.DONE
        terminal.say(f"{saved.program.name}: added (id {saved.program.pk})")
        found = status.one_program(saved.program.pk)
        if found and found["state"] == State.UNKNOWN and saved.program.autostart:
            terminal.warn(f"It will start later: {silent_text(found['host'])}")
        return Exit.DONE

    def _values(self, options: Options, terminal: Terminal) -> dict[str, Any]:
        values = json_object(options.json, terminal, EXPECTED) if options.json else {}
        if options.name is not None:
            values["name"] = options.name
        if options.command:
            values["command"] = _command(options.command, is_shell=bool(options.field_shell))
        return values | given(options, self._fields)


def _command(words: Sequence[str], *, is_shell: bool) -> str:
    """One word is a whole command as typed in quotes; several are put together so that they split alike again.

    A shell is to see what was typed, `$HOME` and `|` included, so for it nothing is quoted.
    """
    if len(words) == 1:
        return words[0]
    return " ".join(words) if is_shell else shlex.join(words)


def _secrets(options: Options, terminal: Terminal) -> dict[str, str]:
    return {name: _secret(name, options, terminal) for name in options.secret_env}


def _secret(name: str, options: Options, terminal: Terminal) -> str:
    """From this command's own environment, asked for without an echo, or the next line of stdin."""
    if name in os.environ:
        return os.environ[name]
    if options.json == "-":
        raise UsageError(f"stdin holds the definition, so {name} must be in the environment of this command.")
    if terminal.is_interactive:
        return getpass.getpass(f"Value of {name}: ")
    line = terminal.stdin.readline()
    if not line:
        raise FailedError(f"{name} has no value: set it in the environment of this command, or give it on stdin.")
    return line.removesuffix("\n").removesuffix("\r")
