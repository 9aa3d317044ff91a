"""`manage.py metrics export|import`: exports the history to a file, and imports it."""

from __future__ import annotations

import gzip
import io
import sys
import time
import zlib
from argparse import ArgumentParser
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from typing import IO, Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError

from core.cli.exit_codes import UsageError
from core.cli.time_parsing import moment
from metrics.storage import export, importing
from programs.models import Program

PIPE = "-"
PROGRESS_SECONDS = 0.2


class Command(BaseCommand):
    help = "Exports the history of programs to a file, or imports it."

    def add_arguments(self, parser: ArgumentParser) -> None:
        subcommands = parser.add_subparsers(dest="subcommand", required=True)
        out = subcommands.add_parser("export", help="write rows as JSON lines or CSV")
        out.add_argument(
            "--tier", default="all", help="raw, minute, ten_minutes, hour, day; comma-separated, or all"
        )
        out.add_argument(
            "--program", action="append", default=[], metavar="NAME", help="only this program (repeatable)"
        )
        out.add_argument("--since", type=moment, metavar="WHEN", help="2h (ago), 12:30, or an ISO date or time")
        out.add_argument("--until", type=moment, metavar="WHEN", help="same formats as --since")
        into = subcommands.add_parser("import", help="add rows of an export; existing rows stay")
        for subcommand in (out, into):
            subcommand.add_argument(
                "file", metavar="FILE", help=f".jsonl or .csv, optionally with .gz; {PIPE} for a pipe"
            )
            subcommand.add_argument(
                "--format", choices=list(export.FORMATS), help="if the file name has no .jsonl or .csv"
            )
            subcommand.add_argument("--quiet", action="store_true", help="hide the progress")

    def handle(self, *args: Any, subcommand: str, **options: Any) -> None:
        self.progress = Progress(self.stderr, is_shown=sys.stderr.isatty() and not options["quiet"])
        try:
            SUBCOMMANDS[subcommand](self, options)
        except ValidationError as error:
            raise CommandError(" ".join(error.messages), returncode=2) from error
        except UsageError as error:
            raise CommandError(str(error), returncode=2) from error
        except UnicodeDecodeError as error:
            raise CommandError(f"{options['file']}: not a text in UTF-8: {error}") from error
        except (OSError, EOFError, zlib.error, importing.MalformedError) as error:
            self.progress.end()
            raise CommandError(f"{options['file']}: {error}") from error

    def export(self, options: dict[str, Any]) -> None:
        selection = export.ExportSelection(
            tiers=export.parse_tiers(options["tier"]),
            start=_unix(options["since"], 0),
            end=_unix(options["until"], int(time.time()) + 1),
            ids=_ids(options["program"]),
        )
        format_, rows = export.format_by_name(_format(options)), 0
        with ExitStack() as stack:
            out = stack.enter_context(ExportFile(options["file"]))
            out.write(format_.head())
            for batch in export.batches(selection):
                out.write(format_.lines(batch.records))
                rows += len(batch.records)
                self.progress.show(f"{batch.done:4.0%}  {rows:,} rows")
        self.progress.end()
        self.stderr.write(f"{rows:,} rows")

    def import_(self, options: dict[str, Any]) -> None:
        name = options["file"]
        reader = importing.READERS[_format(options)]
        with ExitStack() as stack:
            raw: IO[bytes] = sys.stdin.buffer if name == PIPE else stack.enter_context(Path(name).open("rb"))
            size = 0 if name == PIPE else Path(name).stat().st_size
            packed = gzip.GzipFile(fileobj=raw) if name.endswith(".gz") else raw
            text = io.TextIOWrapper(packed, encoding="utf-8", newline="")

            def report_progress(rows: int) -> None:
                share = f"{raw.tell() / size:4.0%}  " if size else ""
                self.progress.show(f"{share}{rows:,} rows")

            result = importing.ImportResult()
            try:
                importing.import_rows(reader(text), report_progress, result)
            finally:
                self._report(result)

    def _report(self, result: importing.ImportResult) -> None:
        self.progress.end()
        self.stderr.write(f"{result.rows:,} rows imported")
        if result.existing:
            self.stderr.write(f"{result.existing:,} rows skipped: they are recorded already")
        for unknown, rows in sorted(result.unknown.items()):
            self.stderr.write(f"{rows:,} rows skipped: there is no program {unknown!r}")


SUBCOMMANDS = {"export": Command.export, "import": Command.import_}


class ExportFile:
    """A file that gets its name only when it is complete, or stdout."""

    def __init__(self, name: str) -> None:
        self._path = None if name == PIPE else Path(name)
        self._is_packed = name.endswith(".gz")

    def __enter__(self) -> IO[bytes]:
        if self._path is None:
            self._file: IO[bytes] = sys.stdout.buffer
            return self._file
        self._part = self._path.with_name(f"{self._path.name}.part")
        self._file = gzip.open(self._part, "wb", compresslevel=1) if self._is_packed else self._part.open("wb")  # type: ignore[assignment]  # a stream of bytes
        return self._file

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self._path is None:
            self._file.flush()
            return
        self._file.close()
        if kind is None:
            self._part.replace(self._path)
        else:
            self._part.unlink(missing_ok=True)


class Progress:
    """A progress line that is overwritten; only on a terminal."""

    def __init__(self, stream: Any, *, is_shown: bool) -> None:
        self._stream, self._is_shown = stream, is_shown
        self._shown_at = 0.0

    def show(self, text: str) -> None:
        if self._is_shown and time.monotonic() - self._shown_at > PROGRESS_SECONDS:
            self._shown_at = time.monotonic()
            self._stream.write(f"\r{text}\x1b[K", ending="")
            self._stream.flush()

    def end(self) -> None:
        if self._is_shown and self._shown_at:
            self._shown_at = 0.0
            self._stream.write("\r\x1b[K", ending="")


def _format(options: dict[str, Any]) -> str:
    """Raises UsageError."""
    suffix = Path(options["file"].removesuffix(".gz")).suffix.removeprefix(".")
    found: str = options["format"] or (suffix if suffix in export.FORMATS else "")
    if not found:
        raise UsageError(f"{options['file']} has no known suffix. Use --format {' or '.join(export.FORMATS)}.")
    return found


def _unix(at: datetime | None, default: int) -> int:
    return default if at is None else int(at.timestamp())


def _ids(names: list[str]) -> list[int] | None:
    """Raises UsageError."""
    if not names:
        return None
    known = dict(Program.objects.filter(name__in=names).values_list("name", "pk"))
    if unknown := [name for name in names if name not in known]:
        raise UsageError(f"There is no program {unknown[0]!r}.")
    return sorted(known.values())
