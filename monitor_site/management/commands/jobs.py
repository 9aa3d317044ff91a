"""`manage.py jobs`: works off the queue."""

from __future__ import annotations

import logging
import os
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils.module_loading import autodiscover_modules

from core import locks
from core.observability import configure
from monitor_site.jobs import marker
from monitor_site.jobs.config import GuardConfig
from monitor_site.jobs.guard import Guard
from monitor_site.jobs.reporting import report_jobs
from monitor_site.serving.signals import Signals


class Command(BaseCommand):
    help = "Runs the job queue: webhook deliveries, plugin runs, retention."
    requires_system_checks = []

    def handle(self, *args: Any, **options: Any) -> None:
        marker.ensure_marked()
        configure("jobs")
        quieten_cluster()
        report_jobs()
        autodiscover_modules("tasks")  # loaded once here, and shared by every worker
        try:
            with Signals() as signals, locks.hold("jobs") as lock:

                def after_fork() -> None:
                    signals.forget()
                    os.close(lock)

                Guard(GuardConfig.from_settings(), after_fork=after_fork).run(signals)
        except locks.HeldError as error:
            raise CommandError(str(error)) from error


def quieten_cluster() -> None:
    """django-q2 tells of each job four times and of each process by a random name; that is for debugging."""
    if logging.getLogger().level > logging.DEBUG:
        logging.getLogger("django-q").setLevel(logging.WARNING)
