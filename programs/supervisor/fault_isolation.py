"""Keeps a fault in one program's supervision from stopping the others'."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping

import structlog
from structlog.contextvars import bound_contextvars

from programs.models import Program

log = structlog.get_logger(__name__)


@contextlib.contextmanager
def isolate_faults(program_id: int, programs: Mapping[int, Program]) -> Iterator[None]:
    """Logs what the block raises and goes on.

    Log lines from inside the block name the program, and so do those of tasks and timers that it starts.
    """
    name = programs[program_id].name if program_id in programs else ""
    with bound_contextvars(program=name, program_id=program_id):
        try:
            yield
        except Exception:
            log.exception("agent.program_failed")
