"""What django-q2 keeps to itself: which job a worker is at, and the exception of one that failed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import structlog
from django_q import worker
from django_q.signals import post_execute_in_worker, pre_execute
from structlog.contextvars import bind_contextvars, unbind_contextvars

log = structlog.get_logger(__name__)


class JobFailures:
    """What django-q2 calls an error reporter; it finds its own by entry points of installed packages alone."""

    def report(self) -> None:
        """Called where the job's exception is being handled."""
        log.exception("jobs.failed")


def report_jobs() -> None:
    """Called once, before the cluster forks its workers."""
    module: Any = worker
    module.error_reporter = JobFailures()
    pre_execute.connect(_begins, dispatch_uid="log")
    post_execute_in_worker.connect(_ended, dispatch_uid="log")


def _begins(func: Callable[..., Any] | None, task: dict[str, Any], **kwargs: Any) -> None:
    """The function is the place; its arguments are data."""
    bind_contextvars(job=str(task["func"]) if func is None else f"{func.__module__}.{func.__qualname__}")


def _ended(**kwargs: Any) -> None:
    unbind_contextvars("job")
