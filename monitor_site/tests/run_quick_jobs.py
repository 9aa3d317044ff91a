"""Run as a program: `manage.py jobs` with a guard that looks often and loses patience soon."""

from __future__ import annotations

import os

import django

django.setup()

from core import errors, locks  # noqa: E402
from core.observability import configure  # noqa: E402
from monitor_site.jobs import marker  # noqa: E402
from monitor_site.jobs.config import GuardConfig  # noqa: E402
from monitor_site.jobs.guard import Guard  # noqa: E402
from monitor_site.jobs.reporting import report_jobs  # noqa: E402
from monitor_site.serving.signals import Signals  # noqa: E402


def main() -> None:
    marker.ensure_marked()
    errors.begin("jobs")
    configure("jobs")
    report_jobs()
    with Signals() as signals, locks.hold("jobs") as lock:

        def after_fork() -> None:
            signals.forget()
            os.close(lock)

        Guard(GuardConfig(look=0.1, beat=0.4, stale=8.0, drain=2.0), after_fork=after_fork).run(signals)


if __name__ == "__main__":
    main()
