"""`manage.py serve`: the whole monitor with one command.

manage.py runs it without loading any app (it starts and watches others, which takes no table), so nothing here
may import a model or need `django.setup()`.
"""

from __future__ import annotations

import os
import time
from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from monitor_site.environment import bind_parts
from monitor_site.jobs import marker
from monitor_site.serving import address, installation, log
from monitor_site.serving.children import Part, command
from monitor_site.serving.preparation import PreparationError, Prepared, StoppedError, prepare
from monitor_site.serving.signals import Signals
from monitor_site.serving.supervisor import Supervisor

STOP_SECONDS = {"web": 2.0, "jobs": 5.0, "agent": 2.5}  # ten in all, with a little to spare
STOP_PROGRAMS_SECONDS = 60.0
PREDECESSOR_SECONDS = 10.0
RETRY_SECONDS = 0.2


class Command(BaseCommand):
    help = "Starts the monitor: brings the database up to date, then runs agent, web and jobs until stopped."
    requires_system_checks = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--bind", metavar="HOST:PORT", help=f"where to listen (now {settings.BIND})")
        parser.add_argument("--stop-programs", action="store_true", help="stop the programs too when stopped")

    def handle(self, *args: Any, **options: Any) -> None:
        settings.BIND = options["bind"] or settings.BIND
        log.configure(settings.LOG_FORMAT)
        with Signals() as signals, installation.claim() as held:
            host, port = claim_address(signals, PREDECESSOR_SECONDS if held.had_predecessor else 0.0)
            # The parts read their settings from the environment they inherit.
            os.environ["BIND"] = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
            url = address.public_url(host, port, settings.ALLOWED_HOSTS, settings.CSRF_TRUSTED_ORIGINS)
            held.introduce(url)
            try:
                prepared = prepare(signals)
            except PreparationError as error:
                raise CommandError(
                    "Nothing was started: the installation could not be made ready, for the reason above."
                ) from error
            except StoppedError:
                return
            self._supervise(signals, (host, port), url, prepared, parts(stop_programs=options["stop_programs"]))

    def _supervise(
        self, signals: Signals, place: tuple[str, int], url: str, prepared: Prepared, parts: list[Part]
    ) -> None:
        supervisor = Supervisor(
            parts,
            stop_order=["web", "jobs", "agent"],
            is_ready=lambda: address.answers(*place),
            on_ready=lambda: self._welcome(url, prepared),
            say=self._say,
        )
        supervisor.run(signals)

    def _say(self, line: str) -> None:
        self.stdout.write(line)
        self.stdout.flush()

    def _welcome(self, url: str, prepared: Prepared) -> None:
        self._say(f"\nThe monitor is running at {self.style.SUCCESS(url + '/')}")
        self._say(f"Its data is in {settings.DATA_DIR}")
        if prepared.administrator == "created":
            self._say(f"The administrator {os.environ['DJANGO_SUPERUSER_USERNAME']} was made.")
        for warning in prepared.warnings:
            self._say(self.style.WARNING(f"Warning: {warning}"))
        if prepared.setup_path:
            self._say("\nMake the first administrator here (once, within 30 minutes of the start):")
            self._say(f"  {self.style.SUCCESS(url + prepared.setup_path)}")
        self._say("\nCtrl-C stops the monitor.\n")


def parts(*, stop_programs: bool) -> list[Part]:
    """The three parts in the order of their start."""
    agent = ("agent", "--stop-programs") if stop_programs else ("agent",)
    patience = STOP_SECONDS["agent"] + (STOP_PROGRAMS_SECONDS if stop_programs else 0.0)
    return [
        Part("agent", command(*agent), stop_seconds=patience, owns_group=False),
        Part("web", command("web"), stop_seconds=STOP_SECONDS["web"]),
        Part(
            "jobs",
            command("jobs"),
            stop_seconds=STOP_SECONDS["jobs"],
            environment=marker.environment(),
            sweep=marker.end_leftovers,
        ),
    ]


def claim_address(signals: Signals, patience: float) -> tuple[str, int]:
    """Host and port of BIND once they are free. Raises CommandError.

    The parts of a predecessor that was killed need a moment to notice and let go of the port: they get
    `patience` seconds.
    """
    try:
        host, port = bind_parts(settings.BIND)
    except ValueError as error:
        raise CommandError(str(error)) from error
    until = time.monotonic() + patience
    while True:
        try:
            return host, address.claim(host, port)
        except address.AddressError as error:
            if time.monotonic() >= until or signals.stops_asked:
                raise CommandError(str(error)) from error
        signals.wait(RETRY_SECONDS)
