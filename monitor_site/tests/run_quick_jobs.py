"""A script: `manage.py jobs` with a watchdog that checks often and has short timeouts."""

from __future__ import annotations

import os

import django

django.setup()

from core import errors, locks  # noqa: E402
from core.observability import configure  # noqa: E402
from monitor_site.jobs import marker  # noqa: E402
from monitor_site.jobs.cluster import report_jobs  # noqa: E402
from monitor_site.jobs.watchdog import ClusterWatchdog, WatchdogConfig  # noqa: E402
from monitor_site.serving.signals import Signals  # noqa: E402


def main() -> None:
    marker.ensure_marked()
    errors.install("jobs")
    configure("jobs")
    report_jobs()
    with Signals() as signals, locks.hold("jobs") as lock:

        def after_fork() -> None:
            signals.restore()
            os.close(lock)

        config = WatchdogConfig(check=0.1, heartbeat=0.4, stale_after=8.0, drain=2.0)
        ClusterWatchdog(config, after_fork=after_fork).run(signals)


if __name__ == "__main__":
    main()
