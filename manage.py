#!/usr/bin/env python
"""Entry point of every command. Commands that only need the data load a short app list (see settings)."""

import os
import sys

LEAN_COMMANDS = {
    *("agent", "jobs", "program", "webhook", "alert"),
    *("token", "doctor", "backup", "restore", "rotate_keys"),
}
LONG_RUNNING_COMMANDS = {"serve", "agent", "web", "jobs"}
MARKER = "PROGRAM_MONITOR"
# structlog imports the first two if they are installed, django-q2 the third. A lean process needs none of them and
# saves 10 MB and 0.1 s.
BLOCKED_IN_LEAN = ("twisted", "rich", "prometheus_client")
BLOCKED_IN_WEB = ("twisted", "rich")


def main() -> None:
    if sys.argv[1:2] and sys.argv[1] in LONG_RUNNING_COMMANDS and os.environ.pop(MARKER, ""):
        # Started from a shell that is a program of a monitor. With its marker, that monitor could kill this
        # process.
        os.execv(sys.executable, [sys.executable, *sys.argv])  # noqa: S606  (the same command again)
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "monitor_site.settings")
    if len(sys.argv) > 1 and sys.argv[1] in LEAN_COMMANDS:
        os.environ.setdefault("MONITOR_APPS", "lean")
        block_imports(*BLOCKED_IN_LEAN)
    elif sys.argv[1:2] == ["web"]:
        block_imports(*BLOCKED_IN_WEB)
    from core import clock
    from monitor_site.serving import parent_watch

    parent_watch.watch_from_environment()
    exit_on_invalid_settings()
    clock.restore_tz()
    block_unused_drivers()
    if sys.argv[1:2] == ["serve"]:
        # It only starts and watches the others; without the apps it takes a third of the memory.
        from monitor_site.management.commands.serve import Command

        Command().run_from_argv(sys.argv)
    else:
        from django.core.management import execute_from_command_line

        from core import errors

        errors.install(sys.argv[1] if len(sys.argv) > 1 else "help")
        execute_from_command_line(sys.argv)


def block_imports(*names: str) -> None:
    for name in names:
        sys.modules[name] = None  # type: ignore[assignment]  # documented: makes the import fail


def block_unused_drivers() -> None:
    # Unfold has fields for PostgreSQL and loads its driver if it is installed: 5 MB.
    from django.conf import settings

    if all(database["ENGINE"].endswith("sqlite3") for database in settings.DATABASES.values()):
        block_imports("psycopg")


def exit_on_invalid_settings() -> None:
    """Exits with one sentence instead of a traceback."""
    from django.conf import settings
    from django.core.exceptions import ImproperlyConfigured

    try:
        settings.INSTALLED_APPS  # noqa: B018  (reads all of them)
    except (ImproperlyConfigured, OSError, ValueError) as error:
        sys.exit(f"Invalid settings: {error}")


if __name__ == "__main__":
    main()
