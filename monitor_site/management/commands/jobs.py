"""`manage.py jobs`: runs the jobs in the queue."""

from __future__ import annotations

import logging
import os
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils.module_loading import autodiscover_modules

from core import locks
from core.observability import configure
from monitor_site.jobs import marker
from monitor_site.jobs.cluster import report_jobs
from monitor_site.jobs.watchdog import ClusterWatchdog, WatchdogConfig
from monitor_site.serving.signals import Signals


class Command(BaseCommand):
    help = "Runs the job queue, above all webhook deliveries."
    requires_system_checks = []

    def handle(self, *args: Any, **options: Any) -> None:
        marker.ensure_marked()
        configure("jobs")
        quieten_cluster()
        report_jobs()
        autodiscover_modules("tasks")  # before the fork, so that the workers share the memory
        try:
            with Signals() as signals, locks.hold("jobs") as lock:

                def after_fork() -> None:
                    signals.restore()
                    os.close(lock)

                ClusterWatchdog(WatchdogConfig.from_settings(), after_fork=after_fork).run(signals)
        except locks.HeldError as error:
            raise CommandError(str(error)) from error


def quieten_cluster() -> None:
    # django-q2 logs each job four times and each process by a random name.
    if logging.getLogger().level > logging.DEBUG:
        logging.getLogger("django-q").setLevel(logging.WARNING)
