"""`manage.py alert`: a module for each group of subcommands, listed in `registry`."""
