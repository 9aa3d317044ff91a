"""`manage.py program …`: a module for each group of subcommands, named in `registry`.

Guide: docs/commands.md.
"""
