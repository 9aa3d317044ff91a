"""Labels and help texts of the definition: one sentence each that says what a value does."""

from __future__ import annotations

from django.utils.translation import gettext_lazy as _

SECONDS = ("start_seconds", "backoff_initial", "backoff_max", "stable_seconds", "restart_window")

LABELS = {
    "success_exit_codes": _("Exit codes of success"),
    "max_memory_bytes": _("Restart above"),
    "log_max_bytes": _("Rotate at"),
    "cpu_percent": _("CPU percent"),
    "shell": _("Use a shell"),
    "working_directory": _("Working directory"),
    "stdin": _("Standard input"),
    "user": _("Run as user"),
    "umask": _("File mode mask (umask)"),
    "nice": _("Priority (nice)"),
    "max_open_files": _("Open files"),
    "autostart": _("Start automatically"),
    "restart_policy": _("Restart"),
    "start_seconds": _("Counts as running after"),
    "backoff_initial": _("First pause"),
    "backoff_factor": _("Each pause is longer by"),
    "backoff_max": _("Longest pause"),
    "backoff_jitter": _("Spread of pauses"),
    "stable_seconds": _("Forget failures after"),
    "max_restarts": _("Give up after"),
    "restart_window": _("… restarts within"),
    "restart_cron": _("Restart on a schedule"),
    "instances_min": _("Instances, at least"),
    "instances_max": _("Instances, at most"),
    "scale_cpu_percent": _("Scale at CPU"),
    "log_backups": _("Old logs kept"),
    "log_compress": _("Compress old logs"),
}

HELP = {
    "name": _("How it is called everywhere. No slash."),
    "command": _(
        "Split into words as a shell would, but no shell runs. {instance} becomes 0, 1, 2 …; "
        "{instance+8100} becomes 8100, 8101 …"
    ),
    "shell": _("Hand the command to /bin/sh, for pipes, variables and the like."),
    "working_directory": _("The folder it starts in, written from the root. Empty: the monitor's data folder."),
    "environment": _(
        "Beside these it gets PATH, HOME, USER, LANG, TZ and SHELL, and nothing of the monitor's own. "
        "Secret values are stored encrypted and never shown again."
    ),
    "description": _("For people: what it is, whom to ask."),
    "tags": _("Words to filter and act by, with commas or spaces between them: web, prod."),
    "host": _("The machine whose agent runs it."),
    "autostart": _("Start it when it is saved for the first time, and whenever the machine boots."),
    "start_seconds": _("It must live this long to count as started; an earlier end is a failed start."),
    "stdin": _("A console takes lines sent from this page, as game servers expect."),
    "user": _("Empty: the user of the monitor. Another one needs a monitor that runs as root."),
    "restart_policy": _("What happens when it ends by itself: on failure means with any other exit code."),
    "success_exit_codes": _("An end with one of these is expected: 0, or 0, 2."),
    "max_restarts": _("So many restarts within the window below make it fatal. 0: never give up."),
    "restart_window": _("Restarts longer ago do not count."),
    "stable_seconds": _("After this long without trouble the pauses begin anew."),
    "backoff_initial": _("The first restart is immediate; the second waits this long."),
    "backoff_factor": _("2 doubles the pause with every failure."),
    "backoff_max": _("No pause is longer than this."),
    "backoff_jitter": _("0.2 makes each pause up to 20 % longer or shorter, so that not all come back at once."),
    "restart_cron": _(
        "Five fields: minute, hour, day, month, weekday. 0 4 * * * is daily at 04:00 by the machine's clock. "
        "Empty: no schedule."
    ),
    "max_memory_bytes": _("Restart an instance whose process tree holds more memory than this. Empty: no limit."),
    "stop_ladder": _(
        "Tried from top to bottom, each for its time; what then still lives is killed with its whole tree."
    ),
    "instances_min": _("So many run always."),
    "instances_max": _("Between the two numbers it is scaled by hand, or by CPU load."),
    "scale_cpu_percent": _("Add an instance above this average, remove one well below. Empty: by hand only."),
    "depends_on": _("It starts only once these are started, or healthy by their probes."),
    "probes": _("Liveness failures restart an instance; readiness makes it healthy for those that depend on it."),
    "log_max_bytes": _("Output goes to one file; above this size its oldest part moves to the archive."),
    "log_backups": _("How many archived parts are kept; the oldest goes first."),
    "log_compress": _("Archived parts are stored compressed."),
    "umask": _("Three octal digits. 022: others may read new files, not write them. Empty: the monitor's."),
    "nice": _("From -20 (first served) to 19 (last served). Empty: the monitor's."),
    "max_open_files": _("How many files and sockets each instance may hold open. Empty: the system's limit."),
}
