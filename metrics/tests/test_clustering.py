"""The tables of history are their own indexes."""

from __future__ import annotations

import pytest
from django.db import connection

from metrics.models import HostUsage, ResourceUsage, ResourceUsageDay, ResourceUsageHour
from metrics.tests.history import NOON, host_used, used
from metrics.tiers import RAW, TIERS
from programs.models import Host

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("model", [ResourceUsage, ResourceUsageHour, ResourceUsageDay, HostUsage])
def test_a_table_of_history_has_no_second_index_on_sqlite(model: type[ResourceUsage]) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT sql FROM sqlite_master WHERE name = %s", [model._meta.db_table])
        assert cursor.fetchone()[0].endswith("WITHOUT ROWID")


def test_one_programs_stretch_of_time_is_found_by_the_key_alone() -> None:
    rows = ResourceUsage.objects.filter(period__in=[60, 120], program=7, timestamp__range=(70, 130))
    assert "PRIMARY KEY (period=? AND program_id=? AND timestamp>? AND timestamp<?)" in rows.explain()


def test_sqlite_takes_no_table_of_history_for_damaged() -> None:
    """`backup` and `doctor` ask it, and would refuse a sound database."""
    for tier in TIERS:
        used(tier, 7, NOON)
    host_used(Host.objects.create(name="nas"), RAW, NOON)
    with connection.cursor() as cursor:
        assert cursor.execute("PRAGMA quick_check").fetchall() == [("ok",)]
