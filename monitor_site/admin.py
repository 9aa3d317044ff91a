"""Removes django-q2's pages from the admin: with them, an editor could run any Python function."""

from __future__ import annotations

from django.contrib import admin
from django_q.models import Failure, OrmQ, Schedule, Success

for model in (Schedule, Success, Failure, OrmQ):
    admin.site.unregister(model)
