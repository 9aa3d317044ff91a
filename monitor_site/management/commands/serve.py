"""`manage.py serve`: the whole monitor with one command.

manage.py runs it without loading any app, so nothing here may import a model or need `django.setup()`.
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
from monitor_site.serving import address
from monitor_site.serving.children import ChildSpec, command
from monitor_site.serving.instance_lock import instance_lock
from monitor_site.serving.preparation import PreparationError, PreparationStoppedError, PrepareReport, prepare
from monitor_site.serving.signals import Signals
from monitor_site.serving.supervisor import ChildSupervisor, configure_logging

STOP_SECONDS = {"web": 2.0, "jobs": 5.0, "agent": 2.5}  # a stop may take ten seconds in all
STOP_PROGRAMS_SECONDS = 60.0
PORT_WAIT_SECONDS = 10.0
RETRY_SECONDS = 0.2


class Command(BaseCommand):
    help = "Starts the monitor: migrates the database, then runs agent, web and jobs until stopped."
    requires_system_checks = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--bind", metavar="HOST:PORT", help=f"address to listen on (default: {settings.BIND})")
        parser.add_argument(
            "--stop-programs", action="store_true", help="stop all programs when the monitor stops"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        settings.BIND = options["bind"] or settings.BIND
        configure_logging(settings.LOG_FORMAT)
        with Signals() as signals, instance_lock() as lock:
            # The children of a killed `serve` need some time to notice it and release the port.
            host, port = wait_for_address(signals, PORT_WAIT_SECONDS if lock.was_killed else 0.0)
            # The children read their settings from the inherited environment.
            os.environ["BIND"] = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
            url = address.public_url(host, port, settings.ALLOWED_HOSTS, settings.CSRF_TRUSTED_ORIGINS)
            lock.publish(url)
            try:
                report = prepare(signals)
            except PreparationError as error:
                raise CommandError("Nothing was started. The error above says why.") from error
            except PreparationStoppedError:
                return
            self._supervise(signals, (host, port), url, report, child_specs(options["stop_programs"]))

    def _supervise(
        self,
        signals: Signals,
        host_and_port: tuple[str, int],
        url: str,
        report: PrepareReport,
        specs: list[ChildSpec],
    ) -> None:
        supervisor = ChildSupervisor(
            specs,
            stop_order=["web", "jobs", "agent"],
            is_ready=lambda: address.responds(*host_and_port),
            on_ready=lambda: self._welcome(url, report),
            say=self._say,
        )
        supervisor.run(signals)

    def _say(self, line: str) -> None:
        self.stdout.write(line)
        self.stdout.flush()

    def _welcome(self, url: str, report: PrepareReport) -> None:
        self._say(f"\nThe monitor is running at {self.style.SUCCESS(url + '/')}")
        self._say(f"Data folder: {settings.DATA_DIR}")
        if report.administrator == "created":
            self._say(f"Created the administrator {os.environ['DJANGO_SUPERUSER_USERNAME']}.")
        for warning in report.warnings:
            self._say(self.style.WARNING(f"Warning: {warning}"))
        if report.setup_path:
            self._say("\nCreate the first administrator with this link. It works once, for 30 minutes:")
            self._say(f"  {self.style.SUCCESS(url + report.setup_path)}")
        self._say("\nPress Ctrl-C to stop the monitor.\n")


def child_specs(stop_programs: bool) -> list[ChildSpec]:
    agent = ("agent", "--stop-programs") if stop_programs else ("agent",)
    agent_seconds = STOP_SECONDS["agent"] + (STOP_PROGRAMS_SECONDS if stop_programs else 0.0)
    return [
        ChildSpec("agent", command(*agent), stop_seconds=agent_seconds, owns_group=False),
        ChildSpec("web", command("web"), stop_seconds=STOP_SECONDS["web"]),
        ChildSpec(
            "jobs",
            command("jobs"),
            stop_seconds=STOP_SECONDS["jobs"],
            environment=marker.environment(),
            clean_up=marker.kill_leftovers,
        ),
    ]


def wait_for_address(signals: Signals, seconds: float) -> tuple[str, int]:
    """Host and port of BIND; waits up to `seconds` until the port is free. Raises CommandError."""
    try:
        host, port = bind_parts(settings.BIND)
    except ValueError as error:
        raise CommandError(str(error)) from error
    deadline = time.monotonic() + seconds
    while True:
        try:
            return host, address.choose_port(host, port)
        except address.AddressError as error:
            if time.monotonic() >= deadline or signals.stop_requests:
                raise CommandError(str(error)) from error
        signals.wait(RETRY_SECONDS)
