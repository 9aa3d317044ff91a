"""`program import`: creates the programs of a file, all of them or none."""

from __future__ import annotations

from argparse import ArgumentParser
from pathlib import Path

from core.access import command_actor
from core.cli.exit_codes import Exit, FailedError
from core.cli.subcommand import Subcommand
from core.cli.terminal import Options, Terminal
from programs import formats
from programs.importing import Report, import_definitions


class Import(Subcommand):
    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("files", nargs="+", metavar="FILE", help="- for stdin; several files are read as one")
        parser.add_argument("--kind", choices=formats.KINDS, help="the format (default: detected)")
        parser.add_argument("--update", action="store_true", help="change programs that exist already")
        parser.add_argument("--dry-run", action="store_true", help="validate and report, save nothing")
        parser.add_argument(
            "--json", action="store_true", help='print {"programs": […], "notes": […], "imported": true}'
        )

    def run(self, options: Options, terminal: Terminal) -> Exit:
        texts = [_read(name, terminal) for name in options.files]
        try:
            found = formats.read_all(texts, kind=options.kind)
        except formats.FormatError as error:
            raise FailedError(str(error)) from error
        report = import_definitions(found, update=options.update, dry_run=options.dry_run, actor=command_actor())
        if options.json:
            terminal.json(report.as_json())
        else:
            _show(report, options, terminal)
        return Exit.FAILED if report.failed else Exit.DONE


def _read(name: str, terminal: Terminal) -> tuple[str, str]:
    """(file name, text). The name is absolute, because paths in the text may be relative to its folder."""
    try:
        if name == "-":
            return "", terminal.stdin.read()
        path = Path(name).resolve()
        return str(path), path.read_text(encoding="utf-8")
    except OSError as error:
        raise FailedError(f"Can't read {name}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise FailedError(f"Can't read {name}: it isn't UTF-8 text") from error


def _show(report: Report, options: Options, terminal: Terminal) -> None:
    for result in report.results:
        for message in result.errors:
            terminal.warn(f"{result.name}: {message}")
        if not report.failed:
            terminal.say(f"{result.name}: {result.text()}")
    for note in report.notes:
        terminal.say(f"note: {note.program}: {note.message}" if note.program else f"note: {note.message}")
    if report.failed:
        terminal.warn("Nothing was imported.")
    elif not report.results:
        terminal.warn("The file contains no programs.")
    elif options.dry_run:
        terminal.warn("Dry run: nothing was saved.")
