#!/usr/bin/env python
"""Entry point of every command. Commands that only need the data load a short app list (see settings)."""

import os
import sys

LEAN_COMMANDS = {
    *("agent", "jobs", "program", "webhook", "alert"),
    *("token", "doctor", "backup", "restore", "rotate_keys"),
}
PARTS = {"serve", "agent", "web", "jobs"}
MARK = "PROGRAM_MONITOR"
# structlog imports the first two wherever they are installed, django-q2 the third. A lean process has no use for
# them: 10 MB and 0.1 s less.
UNNEEDED = ("twisted", "rich", "prometheus_client")
UNNEEDED_IN_WEB = ("twisted", "rich")


def main() -> None:
    if sys.argv[1:2] and sys.argv[1] in PARTS and os.environ.pop(MARK, ""):
        # Started from a shell that is itself a program of a monitor: without its mark this is no part of it.
        os.execv(sys.executable, [sys.executable, *sys.argv])  # noqa: S606  (the same command again)
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "monitor_site.settings")
    if len(sys.argv) > 1 and sys.argv[1] in LEAN_COMMANDS:
        os.environ.setdefault("MONITOR_APPS", "lean")
        do_without(*UNNEEDED)
    elif sys.argv[1:2] == ["web"]:
        do_without(*UNNEEDED_IN_WEB)
    from core import clock
    from monitor_site.serving import parent_watch

    parent_watch.hold_from_environment()
    refuse_unusable_settings()
    clock.restore_tz()
    do_without_unused_drivers()
    if sys.argv[1:2] == ["serve"]:
        # It only starts and watches the others: without the apps it takes a third of their memory.
        from monitor_site.management.commands.serve import Command

        Command().run_from_argv(sys.argv)
    else:
        from django.core.management import execute_from_command_line

        from core import errors

        errors.begin(sys.argv[1] if len(sys.argv) > 1 else "help")
        execute_from_command_line(sys.argv)


def do_without(*names: str) -> None:
    for name in names:
        sys.modules[name] = None  # type: ignore[assignment]  # the documented way to say "not to be had"


def do_without_unused_drivers() -> None:
    """Unfold has fields for PostgreSQL and so loads its driver wherever it is installed: 5 MB."""
    from django.conf import settings

    if all(database["ENGINE"].endswith("sqlite3") for database in settings.DATABASES.values()):
        do_without("psycopg")


def refuse_unusable_settings() -> None:
    """A value that cannot be read or a data folder that cannot be written ends the command with one sentence."""
    from django.conf import settings
    from django.core.exceptions import ImproperlyConfigured

    try:
        settings.INSTALLED_APPS  # noqa: B018  (looking at one reads them all)
    except (ImproperlyConfigured, OSError, ValueError) as error:
        sys.exit(f"The settings cannot be used: {error}")


if __name__ == "__main__":
    main()
