"""The subcommands of `manage.py program`, listed in `management.commands.program`.

Guide: docs/commands.md.
"""
