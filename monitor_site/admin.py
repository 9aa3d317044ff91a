"""Takes django-q2's own pages out of the admin: they would let an editor name any Python function to be run."""

from __future__ import annotations

from django.contrib import admin
from django_q.models import Failure, OrmQ, Schedule, Success

for model in (Schedule, Success, Failure, OrmQ):
    admin.site.unregister(model)
