"""The subcommands of `manage.py webhook`, one module for each group."""
