"""`webhook mutes`, `mute` and `unmute`."""

from __future__ import annotations

from argparse import ArgumentParser
from datetime import datetime, timedelta

from django.utils import timezone

from core.access import command_actor
from core.cli.exit_codes import Exit
from core.cli.subcommand import Subcommand
from core.cli.tables import Cell, Column, table
from core.cli.terminal import Options, Terminal
from core.cli.time_parsing import moment, seconds
from core.timeformat import local_time
from programs.cli.selection import find_program as one_program
from programs.formatting import duration_text
from webhooks import selectors, services
from webhooks.models import WebhookMute
from webhooks.serializers import mute_json

from .selection import find_endpoint, find_mute

COLUMNS = (Column("id", is_number=True), Column("webhook"), Column("program"), Column("when"), Column("reason"))


class Mutes(Subcommand):
    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--all", action="store_true", dest="every", help="include ended mutes")
        parser.add_argument("--json", action="store_true", help="JSON as in the API")

    def run(self, options: Options, terminal: Terminal) -> Exit:
        now = timezone.now()
        rows = list(selectors.mutes() if options.every else selectors.current_mutes(now))
        if options.json:
            terminal.json([mute_json(row, now) for row in rows])
        elif rows:
            terminal.say("\n".join(table(COLUMNS, list(map(_row, rows)), terminal.columns)))
        else:
            terminal.warn("Nothing is muted.")
        return Exit.DONE


def _row(row: WebhookMute) -> list[Cell]:
    return [
        Cell(str(row.pk)),
        Cell(row.endpoint.name if row.endpoint else "all"),
        Cell(row.program.name if row.program else "all"),
        Cell(_when(row)),
        Cell(row.reason),
    ]


def _when(row: WebhookMute) -> str:
    span = f"from {_time_text(row.starts_at)}" + (
        f" to {_time_text(row.ends_at)}" if row.ends_at else " until removed"
    )
    return f"{row.cron} for {duration_text(row.cron_seconds)}, {span}" if row.cron else span


def _time_text(at: datetime) -> str:
    return f"{local_time(at):%Y-%m-%d %H:%M %Z}"


class Mute(Subcommand):
    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("name", nargs="?", metavar="NAME", help="name or id of an endpoint; default: all")
        parser.add_argument("--program", metavar="NAME", help="only events of this program")
        end = parser.add_mutually_exclusive_group()
        end.add_argument(
            "--for", type=seconds, dest="length", metavar="SPAN", help="30m, 2h; default: until removed"
        )
        end.add_argument("--until", type=moment, metavar="WHEN", help="an ISO date or time, or a time today")
        parser.add_argument(
            "--cron", default="", metavar="CRON", help="start of maintenance windows, as a cron expression"
        )
        parser.add_argument(
            "--window", type=seconds, default=3600, metavar="SPAN", help="length of each window (default: 1h)"
        )
        parser.add_argument("--reason", default="", help="shown with the cancelled deliveries")
        parser.add_argument("--everything", action="store_true", help="required if nothing else limits the mute")
        parser.add_argument("--json", action="store_true", help="JSON as in the API")

    def run(self, options: Options, terminal: Terminal) -> Exit:
        now = timezone.now()
        row = services.mute(
            actor=command_actor(),
            endpoint=find_endpoint(options.name) if options.name is not None else None,
            program=one_program(options.program) if options.program else None,
            starts_at=now,
            ends_at=options.until if options.length is None else now + timedelta(seconds=options.length),
            cron=options.cron,
            cron_seconds=int(options.window),
            reason=options.reason,
            everything=options.everything,
        )
        if options.json:
            terminal.json(mute_json(row, now))
        else:
            endpoint = row.endpoint.name if row.endpoint else "all webhooks"
            program = f" for {row.program.name}" if row.program else ""
            terminal.say(f"{endpoint}: muted{program} {_when(row)} (mute {row.pk})")
        return Exit.DONE


class Unmute(Subcommand):
    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("number", metavar="ID", help="id from `webhook mutes`")

    def run(self, options: Options, terminal: Terminal) -> Exit:
        services.unmute(find_mute(options.number), actor=command_actor())
        terminal.say(f"mute {options.number}: removed")
        return Exit.DONE
