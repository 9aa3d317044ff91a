"""`manage.py metrics export|import`: history to a file and back."""

from __future__ import annotations

import gzip
import io
import sys
import time
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

STDIO = "-"
TOLD_EVERY_SECONDS = 0.2


class Command(BaseCommand):
    help = "Writes the history of programs to a file, or takes it in from one."

    def add_arguments(self, parser: ArgumentParser) -> None:
        verbs = parser.add_subparsers(dest="verb", required=True)
        out = verbs.add_parser("export", help="write rows as lines of JSON or CSV")
        out.add_argument("--tier", default="all", help="raw, minute, ten_minutes, hour, day; with commas, or all")
        out.add_argument("--program", action="append", default=[], metavar="NAME", help="only this; repeatable")
        out.add_argument("--since", type=moment, metavar="WHEN", help="2h (ago), 12:30, or an ISO date or time")
        out.add_argument("--until", type=moment, metavar="WHEN", help="likewise")
        into = verbs.add_parser("import", help="add rows that an export wrote; those that are there stay")
        for verb in (out, into):
            verb.add_argument(
                "file", metavar="FILE", help=f"ends in .jsonl or .csv, then maybe .gz; {STDIO} for a pipe"
            )
            verb.add_argument("--format", choices=list(export.FORMATS), help="when the name does not tell")
            verb.add_argument("--quiet", action="store_true", help="show no progress")

    def handle(self, *args: Any, verb: str, **options: Any) -> None:
        self.progress = Progress(self.stderr, is_shown=sys.stderr.isatty() and not options["quiet"])
        try:
            VERBS[verb](self, options)
        except ValidationError as error:
            raise CommandError(" ".join(error.messages), returncode=2) from error
        except UsageError as error:
            raise CommandError(str(error), returncode=2) from error
        except (OSError, EOFError, UnicodeDecodeError, importing.MalformedError) as error:
            self.progress.end()
            raise CommandError(f"{options['file']}: {error}") from error

    def export(self, options: dict[str, Any]) -> None:
        selected = export.Selection(
            tiers=export.tiers_named(options["tier"]),
            start=_unix(options["since"], 0),
            end=_unix(options["until"], int(time.time()) + 1),
            ids=_ids(options["program"]),
        )
        written, rows = export.format_named(_format(options)), 0
        with ExitStack() as stack:
            out = stack.enter_context(Destination(options["file"]))
            out.write(written.head())
            for batch in export.batches(selected):
                out.write(written.lines(batch.records))
                rows += len(batch.records)
                self.progress.tell(f"{batch.done:4.0%}  {rows:,} rows")
        self.progress.end()
        self.stderr.write(f"{rows:,} rows")

    def import_(self, options: dict[str, Any]) -> None:
        name = options["file"]
        reader = importing.READERS[_format(options)]
        with ExitStack() as stack:
            raw: IO[bytes] = sys.stdin.buffer if name == STDIO else stack.enter_context(Path(name).open("rb"))
            size = 0 if name == STDIO else Path(name).stat().st_size
            packed = gzip.GzipFile(fileobj=raw) if name.endswith(".gz") else raw
            text = io.TextIOWrapper(packed, encoding="utf-8", newline="")

            def told(rows: int) -> None:
                share = f"{raw.tell() / size:4.0%}  " if size else ""
                self.progress.tell(f"{share}{rows:,} rows")

            outcome = importing.take_in(reader(text), told)
        self.progress.end()
        self.stderr.write(f"{outcome.rows:,} rows taken in")
        for unknown, rows in sorted(outcome.unknown.items()):
            self.stderr.write(f"{rows:,} rows left out: there is no program {unknown!r}")


VERBS = {"export": Command.export, "import": Command.import_}


class Destination:
    """A file that appears under its name only once it is whole, or stdout."""

    def __init__(self, name: str) -> None:
        self._path = None if name == STDIO else Path(name)
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
    """One line on a terminal, written over again and again; nothing in a pipe or a file."""

    def __init__(self, stream: Any, *, is_shown: bool) -> None:
        self._stream, self._is_shown = stream, is_shown
        self._told_at = 0.0

    def tell(self, text: str) -> None:
        if self._is_shown and time.monotonic() - self._told_at > TOLD_EVERY_SECONDS:
            self._told_at = time.monotonic()
            self._stream.write(f"\r{text}\x1b[K", ending="")
            self._stream.flush()

    def end(self) -> None:
        if self._is_shown and self._told_at:
            self._told_at = 0.0
            self._stream.write("\r\x1b[K", ending="")


def _format(options: dict[str, Any]) -> str:
    """Raises UsageError."""
    suffix = Path(options["file"].removesuffix(".gz")).suffix.removeprefix(".")
    found: str = options["format"] or (suffix if suffix in export.FORMATS else "")
    if not found:
        raise UsageError(
            f"{options['file']} does not tell the format; say --format {' or '.join(export.FORMATS)}."
        )
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
