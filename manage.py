#!/usr/bin/env python
"""Entry point of every command. Commands that only need the data load a short app list (see settings)."""

import os
import sys

LEAN_COMMANDS = {"agent", "jobs", "serve", "program", "token", "doctor", "backup", "restore", "rotate_keys"}


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "monitor_site.settings")
    if len(sys.argv) > 1 and sys.argv[1] in LEAN_COMMANDS:
        os.environ.setdefault("MONITOR_APPS", "lean")
    from django.core.management import execute_from_command_line

    execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main()
