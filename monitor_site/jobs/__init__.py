"""`manage.py jobs`: django-q2's cluster, and a guard that proves it alive or replaces it."""
