"""What the incident's card knows of the minutes before."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from metrics.queries.incident_metrics import usage_before
from metrics.storage.recorder import Recorder
from metrics.tests.plans import assert_finds_one_stretch_by_the_key, explained
from metrics.tests.writing import Writer, programs, used
from programs import events, incidents
from programs.hosts import this_host
from programs.models import Program, ProgramEvent

AT = 1_800_000_000
pytestmark = pytest.mark.django_db


def crashed(program: int) -> ProgramEvent:
    row = Program.objects.get(pk=program)
    return events.record("program.crashed", program=row, process_index=0, at=datetime.fromtimestamp(AT, UTC))


def record(writer: Writer, program: int, minutes: int) -> None:
    target = Recorder(this_host().pk, writer.put_batch)
    for start in range(AT - 60 * minutes, AT, 10):
        target.add(start, start + 10, {program: used(cpu_percent=12.34, memory=AT - start, seconds=10)})
    writer.drain()


def test_the_last_ten_minutes_are_on_the_card(writer: Writer) -> None:
    (program,) = programs()
    record(writer, program, minutes=12)
    found = usage_before(program, 0, crashed(program))
    assert found["cpu_percent"][0] == [AT - 590, 12.34]
    assert found["memory_bytes"][-1] == [AT - 10, 10]
    assert len(found["cpu_percent"]) == len(found["memory_bytes"]) == 59


def test_a_program_without_history_has_none_on_its_card(writer: Writer) -> None:
    one, other = programs(2)
    record(writer, one, minutes=3)
    assert usage_before(other, 0, crashed(other)) == {}


def test_an_incident_is_written_with_it(writer: Writer) -> None:
    (program,) = programs()
    record(writer, program, minutes=1)
    facts = {"exit_code": 1, "exit_signal": None, "meaning": "failed", "uptime_seconds": 60.0}
    incident = incidents.write_incident(crashed(program), facts)
    assert len(incident.metrics_before["memory_bytes"]) == 6


def test_it_costs_one_query_by_the_key(writer: Writer, django_assert_num_queries: object) -> None:
    (program,) = programs()
    event = crashed(program)
    with django_assert_num_queries(1) as captured:  # type: ignore[operator]
        usage_before(program, 0, event)
    assert_finds_one_stretch_by_the_key(explained(captured.captured_queries[0]["sql"]))
