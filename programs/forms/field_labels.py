"""Labels of the definition's fields. Their help texts are in `definition.fields`."""

from __future__ import annotations

from django.utils.translation import gettext_lazy as _

LABELS = {
    "name": _("Name"),
    "command": _("Command"),
    "shell": _("Use a shell"),
    "description": _("Description"),
    "tags": _("Tags"),
    "host": _("Host"),
    "working_directory": _("Working directory"),
    "environment": _("Environment"),
    "stdin": _("Standard input"),
    "user": _("Run as user"),
    "umask": _("File mode mask (umask)"),
    "nice": _("CPU priority (nice)"),
    "max_open_files": _("Open files limit"),
    "max_memory_bytes": _("Restart above"),
    "autostart": _("Start automatically"),
    "restart_policy": _("Restart policy"),
    "success_exit_codes": _("Successful exit codes"),
    "start_seconds": _("Running after"),
    "backoff_initial": _("First delay"),
    "backoff_factor": _("Delay factor"),
    "backoff_max": _("Longest delay"),
    "backoff_jitter": _("Random part of delays"),
    "stable_seconds": _("Forget failures after"),
    "max_restarts": _("Maximum restarts"),
    "restart_window": _("Restart window"),
    "restart_cron": _("Restart schedule"),
    "stop_ladder": _("Stop steps"),
    "instances_min": _("Minimum instances"),
    "instances_max": _("Maximum instances"),
    "scale_cpu_percent": _("Scale at CPU load"),
    "depends_on": _("Depends on"),
    "probes": _("Probes"),
    "log_max_bytes": _("Rotate at"),
    "log_backups": _("Rotated logs kept"),
    "log_compress": _("Compress rotated logs"),
}
