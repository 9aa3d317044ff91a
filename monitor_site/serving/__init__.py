"""`manage.py serve`: starts the agent, web and jobs processes, restarts them and stops them in order."""
