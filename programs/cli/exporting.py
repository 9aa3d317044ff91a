"""`program export`: writes definitions as YAML for `program import`, without secret values."""

from __future__ import annotations

import tempfile
from argparse import ArgumentParser
from pathlib import Path

from core.cli.exit_codes import Exit, FailedError
from core.cli.subcommand import Subcommand
from core.cli.tables import counted
from core.cli.terminal import Options, Terminal
from programs import formats
from programs.definition.conversion import definition_json
from programs.models import Program

from .selection import add_selection, selected_or_all


class Export(Subcommand):
    def add_arguments(self, parser: ArgumentParser) -> None:
        add_selection(parser)
        parser.add_argument("-o", "--output", metavar="FILE", help="write to FILE, readable only by its owner")
        parser.add_argument("--json", action="store_true", help="print the API's JSON instead of YAML")

    def run(self, options: Options, terminal: Terminal) -> Exit:
        chosen = {program["id"] for program in selected_or_all(options)}
        found = Program.objects.select_related("host").prefetch_related("dependencies__requires")
        definitions = [definition_json(program) for program in found if program.pk in chosen]
        text = terminal.as_json(definitions) if options.json else formats.write_yaml(definitions)
        if not options.output:
            terminal.say(text.removesuffix("\n"))
            return Exit.DONE
        _replace(Path(options.output), text)
        terminal.warn(f"{counted(len(definitions), 'program')} written to {options.output}")
        return Exit.DONE


def _replace(path: Path, text: str) -> None:
    # In one step: an export that a full disk cuts short must not replace a good one.
    target, part = path.resolve(), None
    try:
        if target.exists() and not target.is_file():  # /dev/stdout, a FIFO
            target.write_text(text, encoding="utf-8")
            return
        with tempfile.NamedTemporaryFile("w", dir=target.parent, encoding="utf-8", delete=False) as file:
            part = Path(file.name)
            file.write(text)
        part.replace(target)
    except OSError as error:
        if part:
            part.unlink(missing_ok=True)
        raise FailedError(f"Can't write {path}: {error.strerror}") from error
