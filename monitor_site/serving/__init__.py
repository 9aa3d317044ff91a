"""`manage.py serve`: starts the parts of the monitor, watches them and stops them in order. Touches no table."""
