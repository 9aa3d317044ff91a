"""`manage.py webhook`: a module for each group of subcommands, listed in `registry`."""
