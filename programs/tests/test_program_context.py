"""Lines logged while the agent deals with a program say which one."""

from __future__ import annotations

import asyncio
from typing import Any

from structlog.contextvars import get_contextvars
from structlog.testing import capture_logs

from core.log_context import current_place
from programs.models import Program
from programs.supervisor.fault_isolation import isolate_faults

PROGRAMS = {7: Program(pk=7, name="web"), 8: Program(pk=8, name="db")}


async def _context() -> dict[str, Any]:
    return get_contextvars()


async def test_what_is_started_for_a_program_goes_on_naming_it() -> None:
    loop = asyncio.get_running_loop()
    rung: asyncio.Future[str] = loop.create_future()
    with isolate_faults(7, PROGRAMS):
        task = asyncio.create_task(_context())
        loop.call_later(0.01, lambda: rung.set_result(current_place()))
    assert get_contextvars() == {}
    assert await task == {"program": "web", "program_id": 7}
    assert await rung == "program web"


async def test_one_program_that_moves_another_does_not_lend_it_its_name() -> None:
    with isolate_faults(7, PROGRAMS):
        with isolate_faults(8, PROGRAMS):
            assert get_contextvars() == {"program": "db", "program_id": 8}
        assert get_contextvars() == {"program": "web", "program_id": 7}


async def test_a_fault_with_one_program_is_told_and_ends_there() -> None:
    with capture_logs() as lines, isolate_faults(9, PROGRAMS):
        _fail()
    assert [(line["event"], line["log_level"]) for line in lines] == [("agent.program_failed", "error")]


def _fail() -> None:
    raise RuntimeError("x")
