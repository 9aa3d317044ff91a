"""Retention deletes old rows in slices, and their space is reused."""

from __future__ import annotations

import asyncio
import os
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import connection
from django.db.models import QuerySet

from core.models import AuditEntry, RetentionState
from core.retention import ClockJumpedError, ClockReading, confirm, current_state, request_permit
from metrics.alerts.tests.factories import alert, rule
from metrics.models import (
    Alert,
    HostUsage,
    OpenPeriod,
    RecordedProgram,
    ResourceUsage,
)
from metrics.storage import retention
from metrics.storage.accumulator import Accumulator
from metrics.storage.bucketing import BucketShare, split_usage
from metrics.storage.retention import Retention
from metrics.storage.tiers import HOUR, MINUTE, RAW, TIERS, Tier
from metrics.storage.values import add_to_points, replace_rows
from metrics.tests.fake_writer import Writer, programs, usage_sample
from metrics.tests.storage.test_recorder import host_row
from programs import events
from programs.hosts import this_host
from programs.models import Incident, Program, ProgramEvent
from programs.tests.actors import AgentBox, wait_for
from programs.tests.conftest import box as box

NOW = 20_800 * 86_400 + 43_200
HOUR_SECONDS, DAY_SECONDS = 3600, 86_400
FAKETIME = next(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"), None)


def write(tier: Tier, program: int, timestamp: int) -> None:
    ((_, values),) = split_usage(usage_sample(), [BucketShare(timestamp, 0.0, 1.0)])
    if tier is RAW:
        add_to_points(RAW.period_of(timestamp), timestamp, {program: values})
    else:
        accumulator = Accumulator()
        accumulator.add_point(values)
        replace_rows(tier.model, [accumulator.row(tier.period_of(timestamp), program, timestamp)])


def clock_at(now: float, **more: Any) -> ClockReading:
    return ClockReading(datetime.fromtimestamp(now, UTC), **more)


def tick(writer: Writer, clock: ClockReading) -> int:
    """Returns the number of transactions."""
    this_host()
    service = Retention(writer.put_batch, read_clock=lambda: clock)
    service._started_at = int(clock.now.timestamp())
    writer.put_batch(service.step)
    return writer.drain()


def run_retention(writer: Writer, now: float = NOW) -> int:
    """Ticks until nothing is left to delete; returns the number of ticks that deleted something."""
    RetentionState.objects.update(seen_at=None)  # the tests leap through time
    this_host()
    service = Retention(writer.put_batch, read_clock=lambda: clock_at(now))
    service._started_at = 0
    ticks = 0
    while True:
        writer.put_batch(service.step)
        if writer.drain() == 1:
            return ticks
        ticks += 1


@pytest.mark.parametrize("tier", TIERS)
def test_a_tier_is_kept_as_long_as_configured(writer: Writer, tier: Tier) -> None:
    (program,) = programs()
    edge = NOW - tier.kept_seconds
    old, young = tier.period_of(edge) - tier.period_seconds, tier.period_of(edge) + tier.period_seconds
    for timestamp in (old - tier.period_seconds, old, young, NOW - NOW % tier.width):
        write(tier, program, timestamp)
    run_retention(writer)
    kept = list(tier.model._default_manager.order_by("timestamp").values_list("timestamp", flat=True))
    assert kept == [young, NOW - NOW % tier.width]


def test_rows_are_deleted_in_slices_of_programs(writer: Writer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "SLICE_ROWS", 10)
    ids = programs(12)
    for program in ids:
        for number in range(6):
            write(RAW, program, NOW - 90_000 + number)
    assert run_retention(writer) >= 7
    assert not ResourceUsage.objects.exists()


def test_a_slice_leaves_the_rest_of_its_period(monkeypatch: pytest.MonkeyPatch, db: None) -> None:
    monkeypatch.setattr(retention, "SLICE_ROWS", 2)
    for program in programs(5):
        write(RAW, program, NOW - 90_000)
    assert retention._delete_oldest_period(RAW, NOW) == 2
    assert ResourceUsage.objects.count() == 3


def test_an_idle_check_takes_one_transaction(writer: Writer) -> None:
    (program,) = programs()
    write(RAW, program, NOW)
    assert tick(writer, clock_at(NOW)) == 1


def test_a_removed_program_is_deleted_from_every_tier(writer: Writer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "SLICE_PERIODS", 200)
    gone, stays = programs(2)
    for program in (gone, stays):
        RecordedProgram.objects.create(program_id=program)
        for tier in TIERS:
            for age in (0, tier.kept_seconds // 2, tier.kept_seconds - tier.period_seconds):
                write(tier, program, (NOW - age) - (NOW - age) % tier.width)
    Program.everything.filter(pk=gone).delete()
    run_retention(writer)
    for tier in TIERS:
        assert set(tier.model._default_manager.values_list("program_id", flat=True)) == {stays}
    assert RecordedProgram.objects.get().pk == stays


def test_a_program_waiting_for_removal_keeps_its_history(writer: Writer) -> None:
    (program,) = programs()
    RecordedProgram.objects.create(program_id=program)
    write(RAW, program, NOW)
    Program.everything.filter(pk=program).update(removed_at=datetime.now(UTC))
    run_retention(writer)
    assert ResourceUsage.objects.exists()


def test_host_rows_and_open_periods_expire_with_their_tier(writer: Writer) -> None:
    host = this_host()
    for tier in (RAW, MINUTE, HOUR):
        for age in (0, tier.kept_seconds + 3 * tier.period_seconds):
            row = host_row(5.0)
            row.host, row.step, row.timestamp = host, tier.step, NOW - age
            row.save()
            OpenPeriod.objects.create(host=host, tier=tier.name, period=tier.period_of(NOW - age))
    run_retention(writer)
    assert set(HostUsage.objects.values_list("timestamp", flat=True)) == {NOW}
    assert OpenPeriod.objects.count() == 3


def test_events_incidents_and_audit_entries_expire(writer: Writer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "SLICE_RECORDS", 2)
    (program,) = programs()
    for days in (0, 89, 91, 200, 300, 301, 302):
        at = datetime.fromtimestamp(NOW, UTC) - timedelta(days=days)
        event = events.record("program.crashed", program=Program.objects.get(pk=program), at=at)
        Incident.objects.create(
            event=event, program_name="p", process_index=0, timestamp=at, meaning="failed", fingerprint="x"
        )
        entry = AuditEntry.objects.create(actor="somebody", action="test")
        QuerySet(AuditEntry).filter(pk=entry.pk).update(at=at)
    run_retention(writer)
    assert ProgramEvent.objects.count() == Incident.objects.count() == AuditEntry.objects.count() == 2


def test_resolved_alerts_expire_and_firing_ones_stay(writer: Writer) -> None:
    about = Program.objects.get(pk=programs()[0])
    at = datetime.fromtimestamp(NOW, UTC)
    for number, days in enumerate((1, 89, 91, 300)):
        alert(
            rule(f"r{number}"), about, started_at=at - timedelta(days=310), resolved_at=at - timedelta(days=days)
        )
    alert(rule("lasting"), about, started_at=at - timedelta(days=310))
    run_retention(writer)
    assert Alert.objects.count() == 3
    assert retention.expire_alerts(at, 1) == 1


def test_events_are_deleted_in_slices(db: None) -> None:
    for _ in range(5):
        events.record("agent.started", at=datetime.fromtimestamp(NOW, UTC) - timedelta(days=200))
    assert retention.expire_events(datetime.fromtimestamp(NOW, UTC), 3) == 3
    assert ProgramEvent.objects.count() == 2


# --- Clocks and owners -----------------------------------------------------------------------------------


def old_points(count: int = 3) -> None:
    (program,) = programs()
    for number in range(count):
        write(RAW, program, NOW + 60 * number)


def test_a_tick_deletes_at_most_one_period_of_a_tier(writer: Writer) -> None:
    old_points()
    later = clock_at(NOW + 2 * DAY_SECONDS)
    tick(writer, later)
    assert ResourceUsage.objects.count() == 2
    tick(writer, later)
    assert ResourceUsage.objects.count() == 1


def test_a_jump_between_two_starts_deletes_nothing_until_a_person_confirms(writer: Writer) -> None:
    old_points()
    tick(writer, clock_at(NOW, boot="b", uptime=100.0))
    ahead = clock_at(NOW + 100 * DAY_SECONDS, boot="b", uptime=160.0)
    tick(writer, ahead)
    tick(writer, ahead)
    assert ResourceUsage.objects.count() == 3
    assert current_state().held_since == ahead.now
    confirm(ahead)
    tick(writer, ahead)
    assert ResourceUsage.objects.count() == 2


def test_the_first_start_ever_is_compared_with_what_was_recorded_before(db: None) -> None:
    old_points()
    later = NOW + 100 * DAY_SECONDS
    newest = retention.newest_record(later)
    assert newest == datetime.fromtimestamp(NOW + 120, UTC)
    with pytest.raises(ClockJumpedError, match="99 days more than expected"):
        request_permit(clock_at(later, boot="b", uptime=160.0), newest, is_default_host=True)


@pytest.mark.skipif(FAKETIME is None and "CI" not in os.environ, reason="no faketime on this machine")
def test_an_agent_that_starts_with_a_wrong_clock_deletes_nothing(box: AgentBox) -> None:
    now = int(time.time())
    (program,) = programs()
    for timestamp in range(now - 7200, now - 3600, 60):
        write(RAW, program, timestamp)
    box.start(wait=False, LD_PRELOAD=str(FAKETIME), FAKETIME="+100d", FAKETIME_DONT_FAKE_MONOTONIC="1")
    wait_for(lambda: "retention.refused" in box.output.read_text(), box)
    wait_for(lambda: ResourceUsage.objects.filter(timestamp__gt=now + 99 * DAY_SECONDS).exists(), box)
    assert ResourceUsage.objects.filter(timestamp__lt=now).count() == 60


def test_a_clock_that_is_set_right_again_needs_no_confirmation(writer: Writer) -> None:
    old_points()
    tick(writer, clock_at(NOW, boot="b", uptime=100.0))
    tick(writer, clock_at(NOW + 100 * DAY_SECONDS, boot="b", uptime=160.0))
    tick(writer, clock_at(NOW + 120, boot="b", uptime=220.0))
    assert current_state().held_since is None


def test_an_agent_that_was_off_while_the_machine_was_on_goes_on(writer: Writer) -> None:
    old_points()
    tick(writer, clock_at(NOW, boot="b", uptime=100.0))
    tick(writer, clock_at(NOW + 30 * DAY_SECONDS, boot="b", uptime=100.0 + 30 * DAY_SECONDS))
    assert ResourceUsage.objects.count() == 2


@pytest.mark.parametrize(("days", "left"), [(2, 2), (4, 3)])
def test_a_reboot_explains_an_absence_of_a_weekend_but_not_more(writer: Writer, days: int, left: int) -> None:
    old_points()
    tick(writer, clock_at(NOW, boot="b", uptime=100.0))
    tick(writer, clock_at(NOW + days * DAY_SECONDS, boot="c", uptime=10.0))
    assert ResourceUsage.objects.count() == left


def test_a_clock_that_was_turned_back_and_set_right_again_has_not_jumped(writer: Writer) -> None:
    for shift in (0, -500, 0):
        tick(writer, clock_at(NOW + shift * DAY_SECONDS, boot="b", uptime=100.0 + abs(shift)))
    assert current_state().held_since is None


@pytest.mark.parametrize("difference", [61.0, -61.0, 8e6])
def test_an_agent_whose_clock_differs_from_the_databases_deletes_nothing(
    writer: Writer, difference: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    warnings: list[str] = []
    monkeypatch.setattr(retention.log, "warning", lambda event, reason: warnings.append(reason))
    old_points()
    tick(writer, clock_at(NOW + DAY_SECONDS + 3600, difference=difference))
    assert ResourceUsage.objects.count() == 3
    assert current_state().owner == ""
    assert "database's" in warnings[0]


def test_one_agent_deletes_and_another_takes_over_when_it_is_gone(writer: Writer, settings: Any) -> None:
    old_points()
    now = NOW + 2 * DAY_SECONDS
    tick(writer, clock_at(now))
    first, settings.HOST_NAME = settings.HOST_NAME, "other"
    tick(writer, clock_at(now + 200))
    assert (ResourceUsage.objects.count(), current_state().owner) == (2, first)
    tick(writer, clock_at(now + 400))
    assert (ResourceUsage.objects.count(), current_state().owner) == (1, "other")


def test_the_settings_of_the_default_host_apply_to_every_agent(writer: Writer, settings: Any) -> None:
    old_points()
    settings.RAW_HOURS = 72
    tick(writer, clock_at(NOW + 2 * DAY_SECONDS))
    settings.HOST_NAME, settings.RAW_HOURS = "other", 1
    tick(writer, clock_at(NOW + 2 * DAY_SECONDS + 400))
    assert (ResourceUsage.objects.count(), current_state().owner) == (3, "other")


# --- The service and the file --------------------------------------------------------------------------------


async def test_the_service_checks_at_once_and_stops_with_its_event() -> None:
    put: list[Any] = []
    stop = asyncio.Event()
    service = Retention(put.append)
    running = asyncio.create_task(service.run(stop))
    while not put:
        await asyncio.sleep(0.01)
    stop.set()
    await asyncio.wait_for(running, 60)
    assert put == [service.step]


def test_the_database_file_does_not_grow_beyond_the_retention_time(
    transactional_db: None, writer: Writer, settings: Any
) -> None:
    # Writes ten hours with a retention of one: new rows reuse the space of deleted ones.
    settings.RAW_HOURS = 1
    ids = programs(60)
    ((_, values),) = split_usage(usage_sample(), [BucketShare(0, 0.0, 1.0)])
    sizes = []
    for hour in range(10):
        for timestamp in range(NOW + hour * HOUR_SECONDS, NOW + (hour + 1) * HOUR_SECONDS, 60):
            add_to_points(RAW.period_of(timestamp), timestamp, dict.fromkeys(ids, values))
        run_retention(writer, NOW + (hour + 1) * HOUR_SECONDS)
        sizes.append(file_bytes())
    assert max(sizes[4:]) <= max(sizes[:4]) * 1.25  # PostgreSQL leaves gaps; without reuse it would be twice that


def file_bytes() -> int:
    # PostgreSQL runs autovacuum at any time; here the space must be reusable at once.
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("VACUUM metrics_resourceusage")
            cursor.execute("SELECT pg_total_relation_size('metrics_resourceusage')")
            return int(cursor.fetchone()[0])
        cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        cursor.fetchall()
    return Path(connection.settings_dict["NAME"]).stat().st_size
