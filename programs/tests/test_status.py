from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest
from django.db import connection, transaction
from django.utils import timezone

from core.models import Sequence
from core.timeformat import iso
from programs import events, services, status
from programs.models import Process, Program

from .api_rig import define, host, running, write

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def fresh_liveness(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(status, "agent_liveness", status.AgentLiveness())


def one(program: Program) -> Any:
    found = status.one_program(program.pk)
    assert found is not None
    return found


def test_the_status_has_all_fields_of_the_process() -> None:
    host()
    program = define(tags=["a", "b"])
    started = timezone.now() - timedelta(seconds=90)
    running(program, pid=77, started_at=started, cpu_percent=12.5, memory_bytes=1000, threads=3, restarts=2)
    found = one(program)
    assert found["state"] == "running"
    assert (found["pid"], found["cpu_percent"], found["memory_bytes"], found["threads"]) == (77, 12.5, 1000, 3)
    assert found["uptime_seconds"] in (90, 91)
    assert datetime.fromisoformat(found["started_at"]) == started
    assert found["started_at"].endswith("Z")
    assert (found["restarts"], found["host"], found["tags"]) == (2, "testhost", ["a", "b"])
    assert found["instances"] == {"running": 1, "desired": 1}
    assert found["revision"] == found["processes"][0]["revision"]


def test_several_processes_are_summed_and_the_failing_one_gives_the_state() -> None:
    host()
    program = define(instances_min=3, instances_max=3)
    running(program, 0, pid=10, cpu_percent=1.5, memory_bytes=100, threads=1, restarts=1, health="healthy")
    running(program, 1, pid=11, cpu_percent=2.5, memory_bytes=200, threads=2, health="unhealthy")
    write(program, 2, state="backoff", reason="exit code 3", exit_code=3, restarts=4)
    found = one(program)
    assert (found["state"], found["reason"], found["exit_code"], found["pid"]) == (
        "backoff",
        "exit code 3",
        3,
        None,
    )
    assert (found["cpu_percent"], found["memory_bytes"], found["threads"], found["restarts"]) == (4.0, 300, 3, 5)
    assert found["health"] == "unhealthy"
    assert found["instances"] == {"running": 2, "desired": 3}
    assert [process["index"] for process in found["processes"]] == [0, 1, 2]


def test_a_program_without_a_process_is_stopped() -> None:
    host()
    found = one(define(autostart=False))
    assert (found["state"], found["desired_state"], found["processes"]) == ("stopped", "stopped", [])
    assert (found["pid"], found["uptime_seconds"], found["cpu_percent"]) == (None, None, 0)


def test_only_a_live_process_has_an_uptime() -> None:
    host()
    program = define()
    write(program, state="exited", pid=None, started_at=timezone.now() - timedelta(hours=1), exit_code=0)
    assert one(program)["uptime_seconds"] is None


def test_programs_of_a_lost_agent_are_unknown() -> None:
    host(is_alive=False)
    program = define()
    running(program)
    found = one(program)
    assert (found["state"], found["processes"][0]["state"]) == ("unknown", "unknown")
    assert found["uptime_seconds"] is None


def test_the_state_depends_on_the_agent_of_the_host() -> None:
    host()
    other = host("other", is_alive=False, is_default=False)
    here, there = define("here"), define("there", host="other")
    running(here)
    running(there)
    assert [one(here)["state"], one(there)["state"]] == ["running", "unknown"]
    assert one(there)["host"] == other.name


def test_without_any_host_everything_is_unknown() -> None:
    assert one(define())["state"] == "unknown"


@pytest.mark.parametrize("count", [1, 30])
def test_any_number_of_programs_takes_two_queries(count: int, django_assert_num_queries: Any) -> None:
    host()
    for number in range(count):
        running(define(f"p{number}"))
    with django_assert_num_queries(2):
        assert len(status.report()["programs"]) == count


def test_changes_take_three_queries(django_assert_max_num_queries: Any) -> None:
    host()
    programs = [define(f"p{number}") for number in range(10)]
    since = Sequence.current()
    running(programs[3])
    with django_assert_max_num_queries(3):
        found = status.report(since)
    assert [program["name"] for program in found["programs"]] == ["p3"]
    assert (found["full"], found["revision"]) == (False, Sequence.current())


def test_a_changed_definition_is_a_change() -> None:
    host()
    program = define()
    since = Sequence.current()
    services.save_definition({"tags": ["new"]}, actor="x", program=program)
    assert [found["tags"] for found in status.report(since)["programs"]] == [["new"]]


def test_without_changes_the_report_is_empty() -> None:
    host()
    define()
    found = status.report(Sequence.current())
    assert (found["programs"], found["removed"], found["full"]) == ([], [], False)


def test_a_removed_program_is_reported_after_its_row_was_deleted() -> None:
    host()
    program = define()
    since = Sequence.current()
    services.remove(program, actor="x")
    assert status.report(since)["removed"] == [program.pk]
    Program.everything.filter(pk=program.pk).delete()
    found = status.report(since)
    assert (found["removed"], found["programs"], found["full"]) == ([program.pk], [], False)


@pytest.mark.parametrize("distance", [1, -status.MAX_LOOK_BACK - 1])
def test_an_old_or_future_revision_gets_a_full_report(distance: int) -> None:
    host()
    define()
    with transaction.atomic():
        Sequence.advance(by=status.MAX_LOOK_BACK + 5)
    assert status.report(Sequence.current() + distance)["full"]


def test_a_started_agent_causes_a_full_report() -> None:
    host()
    running(define())
    since = Sequence.current()
    with transaction.atomic():
        events.record("agent.started", actor="agent")
    found = status.report(since)
    assert found["full"]
    assert len(found["programs"]) == 1


def test_losing_and_regaining_an_agent_is_reported_without_a_new_revision() -> None:
    here = host()
    running(define())
    since = status.report()["revision"]
    assert not status.report(since)["full"]
    for is_alive, state in ((False, "unknown"), (True, "running")):
        host(is_alive=is_alive)
        found = status.report(since)
        assert found["full"]
        assert [program["state"] for program in found["programs"]] == [state]
    with transaction.atomic():
        since = Sequence.advance()
    assert not status.report(since)["full"], here


def test_the_cache_never_returns_outdated_values() -> None:
    host()
    program = define()
    running(program, pid=1, started_at=timezone.now() - timedelta(seconds=5))
    first = one(program)
    Process.objects.update(pid=2)  # without a new revision: only the content differs
    assert one(program)["pid"] == 2
    Process.objects.update(started_at=timezone.now() - timedelta(seconds=50))
    assert one(program)["uptime_seconds"] >= 50
    assert first["pid"] == 1
    host("testhost", is_alive=False)
    assert one(program)["state"] == "unknown"


def test_the_cache_drops_removed_programs() -> None:
    host()
    programs = [define(f"p{number}") for number in range(9)]
    status.report()
    for program in programs:
        services.remove(program, actor="x")
    status.report()
    assert not status._cache


def test_ids_out_of_range_are_not_found() -> None:
    assert status.one_program(2**63) is None
    assert status.one_program(-1) is None


def test_the_queried_columns_exist() -> None:
    for model, columns in ((Program, status.PROGRAM_COLUMNS), (Process, status.PROCESS_COLUMNS)):
        known = {column.name for column in connection.introspection.get_table_description(
            connection.cursor(), model._meta.db_table
        )}  # fmt: skip
        assert set(columns) <= known


def test_times_of_both_databases_are_formatted_alike() -> None:
    naive = datetime(2026, 11, 23, 1, 2, 3)  # noqa: DTZ001  (as SQLite gives it)
    assert iso(naive) == iso(naive.replace(tzinfo=UTC)) == "2026-11-23T01:02:03Z"


def test_a_full_report_is_built_once_per_revision(
    django_assert_num_queries: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    at = timezone.now()
    monkeypatch.setattr("django.utils.timezone.now", lambda: at)
    host()
    program = services.save_definition({"name": "web", "command": "true"}, actor="tester").program
    status.report_as_json()
    with django_assert_num_queries(1):
        again = status.report_as_json()
    assert orjson.loads(again)["programs"][0]["name"] == "web"
    services.save_definition({"name": "shop"}, actor="tester", program=program)
    assert orjson.loads(status.report_as_json())["programs"][0]["name"] == "shop"
