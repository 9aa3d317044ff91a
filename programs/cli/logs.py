"""`program logs`: shows the output of a program, and follows it."""

from __future__ import annotations

import json
import time
from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Iterable, Iterator
from datetime import datetime

from core.cli.exit_codes import Exit, FailedError, UsageError
from core.cli.subcommand import Subcommand
from core.cli.terminal import Options, Terminal
from core.cli.time_parsing import moment
from programs.logs.follow import POLL_SECONDS, Follower
from programs.logs.lines import Line
from programs.logs.search import MAX_TAIL
from programs.masked_logs import ProgramLogs, refuse_logs_elsewhere

from .selection import find_program

DEFAULT_LINES = 100
BACKLOG_SECONDS = 2.0  # a program that prints without end must not delay the first lines


def line_count(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 0 <= int(text[:9]) <= MAX_TAIL:
        raise ArgumentTypeError(f"{text!r} isn't a number between 0 and {MAX_TAIL}")
    return int(text)


class Logs(Subcommand):
    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("name", metavar="NAME", help="name or id of a program")
        parser.add_argument(
            "-n",
            "--lines",
            type=line_count,
            default=DEFAULT_LINES,
            metavar="N",
            help="last N lines (default: 100)",
        )
        parser.add_argument("-f", "--follow", action="store_true", help="show new lines until Ctrl-C")
        parser.add_argument("-q", "--query", default="", metavar="TEXT", help="only lines with TEXT, in any case")
        parser.add_argument(
            "--since", type=moment, metavar="WHEN", help="10m (ago), 12:30, or an ISO date or time"
        )
        parser.add_argument("--until", type=moment, metavar="WHEN", help="like --since")
        parser.add_argument("--instance", type=line_count, metavar="N", help="only this instance (the first is 0)")
        parser.add_argument("-t", "--times", action="store_true", help="show when each line was written")
        parser.add_argument("--json", action="store_true", help="print the API's JSON; with --follow line by line")

    def run(self, options: Options, terminal: Terminal) -> Exit:
        if options.follow and options.until:
            raise UsageError("--until can't be combined with --follow.")
        program = find_program(options.name)
        refuse_logs_elsewhere(program)
        output = ProgramLogs(program, options.instance)
        if options.instance is not None and not output.logs[0].live.exists():
            raise FailedError(f"{program.name} has no log of instance {options.instance}.")
        if options.follow:
            return self._follow(LogStream(output, options), terminal, options)
        found = output.read(tail=options.lines, q=options.query, since=options.since, until=options.until)
        if options.json:
            terminal.json(found)
        else:
            _show(found["lines"], options, terminal)
        return Exit.DONE

    def _follow(self, stream: LogStream, terminal: Terminal, options: Options) -> Exit:
        try:
            for batch in stream.batches():
                _show(batch, options, terminal)
        except KeyboardInterrupt:
            terminal.warn("")
        return Exit.DONE


class LogStream:
    """The last matching lines of all instances, then new ones, across rotations and restarts."""

    def __init__(self, output: ProgramLogs, options: Options) -> None:
        # A filter drops lines after they are read, so read as far back as a follower can.
        is_filtered = bool(options.query or options.since)
        backlog = MAX_TAIL if is_filtered else options.lines
        self._followers = [Follower(log, tail=backlog) for log in output.logs]
        self._mask = output.mask
        self._needle: str = options.query.casefold()
        self._since: datetime | None = options.since
        self._count: int = options.lines

    def batches(self) -> Iterator[list[Line]]:
        """Endless. The first batch holds the lines that exist already."""
        yield self._backlog()
        while True:
            batch = self._new()
            if batch:
                yield batch
            else:
                time.sleep(POLL_SECONDS)

    def _backlog(self) -> list[Line]:
        found: list[Line] = []
        until = time.monotonic() + BACKLOG_SECONDS
        while (batch := self._new()) and time.monotonic() < until:
            found += batch
        found.sort(key=lambda line: line["time"] or "~")
        return found[max(len(found) - self._count, 0) :]

    def _new(self) -> list[Line]:
        ready = [follower for follower in self._followers if follower.has_news()]
        batch = [line for follower in ready for line in self._read(follower)]
        return sorted(batch, key=lambda line: line["time"] or "~")

    def _read(self, follower: Follower) -> Iterable[Line]:
        follower.fetch()
        lines = follower.take(self._mask())
        if len(self._followers) > 1:
            for line in lines:
                line["instance"] = follower.log.index
        return filter(self._is_wanted, lines)

    def _is_wanted(self, line: Line) -> bool:
        if self._needle not in line["text"].casefold():
            return False
        if self._since is None or line["time"] is None:
            return True
        return datetime.fromisoformat(line["time"]) >= self._since


def _show(lines: Iterable[Line], options: Options, terminal: Terminal) -> None:
    shown = [json.dumps(line, ensure_ascii=False) if options.json else _text(line, options) for line in lines]
    if shown:
        terminal.say("\n".join(shown) + "\n")


def _text(line: Line, options: Options) -> str:
    instance = f"{line['instance']}| " if "instance" in line else ""
    written = f"{line['time'] or '-':24}  " if options.times else ""
    return f"{written}{instance}{line['text']}"
