"""`manage.py jobs`: django-q2's cluster, and a watchdog that replaces it when it stops working."""
