"""Sparklines of the last hour, and the usage before an incident."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from pytest_django import DjangoAssertNumQueries

from metrics.queries.recent_usage import last_hour, usage_before
from metrics.storage.recorder import Recorder
from metrics.storage.tiers import MINUTE, RAW
from metrics.tests.fake_writer import Writer, programs, usage_sample
from metrics.tests.history import NOON, store_usage, store_usage_rows
from metrics.tests.query_plans import assert_seeks_by_primary_key, explain
from programs import events, incidents
from programs.hosts import this_host
from programs.models import Program, ProgramEvent
from programs.tests.api_rig import define

AT = 1_800_000_000
pytestmark = pytest.mark.django_db
LAST = NOON + 30  # the newest minute begins at noon


def test_a_sparkline_has_a_value_per_minute_and_none_in_a_gap() -> None:
    program = define()
    store_usage_rows(MINUTE, program, [NOON - 59 * 60, NOON - 600], cpu=5, memory=2000)
    line = last_hour([program.pk], LAST)[program.pk]
    assert (line.start, len(line.cpu), len(line.memory)) == (NOON - 59 * 60, 60, 60)
    assert (line.cpu[0], line.cpu[1], line.cpu[49]) == (5.0, None, 5.0)
    assert line.memory[49] == 2000


def test_the_current_minute_is_computed_from_points() -> None:
    program = define()
    store_usage(RAW, program, NOON, cpu=4)
    store_usage(RAW, program, NOON + 10, cpu=8)
    assert last_hour([program.pk], LAST)[program.pk].cpu[-1] == 6.0


def test_a_minute_in_both_tiers_keeps_its_average() -> None:
    program = define()
    for second in range(0, 60, 10):
        store_usage(RAW, program, NOON - 60 + second, cpu=second)
    store_usage(MINUTE, program, NOON - 60, cpu=25)
    assert last_hour([program.pk], LAST)[program.pk].cpu[-2] == 25.0


def test_rows_older_than_an_hour_are_not_shown() -> None:
    program = define()
    store_usage(MINUTE, program, NOON - 3600)
    assert last_hour([program.pk], LAST) == {}


def test_a_hundred_programs_cost_one_query(django_assert_num_queries: DjangoAssertNumQueries) -> None:
    programs = [define(f"p{number}") for number in range(100)]
    for program in programs:
        store_usage(MINUTE, program, NOON - 60, cpu=program.pk % 50)
    with django_assert_num_queries(1):
        found = last_hour([program.pk for program in programs], LAST)
    assert {pk: line.cpu[-2] for pk, line in found.items()} == {
        program.pk: program.pk % 50 for program in programs
    }


def test_no_programs_cost_no_query(django_assert_num_queries: DjangoAssertNumQueries) -> None:
    with django_assert_num_queries(0):
        assert last_hour([], LAST) == {}


# --- Before an incident ---------------------------------------------------------------------------------


def crashed(program: int) -> ProgramEvent:
    row = Program.objects.get(pk=program)
    return events.record("program.crashed", program=row, process_index=0, at=datetime.fromtimestamp(AT, UTC))


def record(writer: Writer, program: int, minutes: int) -> None:
    target = Recorder(this_host().pk, writer.put_batch)
    for start in range(AT - 60 * minutes, AT, 10):
        target.add(start, start + 10, {program: usage_sample(cpu_percent=12.34, memory=AT - start, seconds=10)})
    writer.drain()


def test_the_last_ten_minutes_before_the_event_are_returned(writer: Writer) -> None:
    (program,) = programs()
    record(writer, program, minutes=12)
    found = usage_before(program, 0, crashed(program))
    assert found["cpu_percent"][0] == [AT - 590, 12.34]
    assert found["memory_bytes"][-1] == [AT - 10, 10]
    assert len(found["cpu_percent"]) == len(found["memory_bytes"]) == 59


def test_a_program_without_history_has_no_usage_before_the_event(writer: Writer) -> None:
    one, other = programs(2)
    record(writer, one, minutes=3)
    assert usage_before(other, 0, crashed(other)) == {}


def test_an_incident_is_stored_with_its_usage(writer: Writer) -> None:
    (program,) = programs()
    record(writer, program, minutes=1)
    facts = {"exit_code": 1, "exit_signal": None, "meaning": "failed", "uptime_seconds": 60.0}
    incident = incidents.write_incident(crashed(program), facts)
    assert len(incident.metrics_before["memory_bytes"]) == 6


def test_usage_before_an_event_is_one_query_by_primary_key(
    writer: Writer, django_assert_num_queries: object
) -> None:
    (program,) = programs()
    event = crashed(program)
    with django_assert_num_queries(1) as captured:  # type: ignore[operator]
        usage_before(program, 0, event)
    assert_seeks_by_primary_key(explain(captured.captured_queries[0]["sql"]))
