"""The tables of history are their own indexes."""

from __future__ import annotations

import pytest
from django.db import connection

from core.doctor_checks import database
from metrics.models import HostUsage, ResourceUsage, ResourceUsageDay, ResourceUsageHour
from metrics.storage.tiers import RAW, TIERS
from metrics.tests.history import NOON, store_host_usage, store_usage
from metrics.tests.plans import assert_seeks_by_primary_key, explain
from programs.models import Host

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("model", [ResourceUsage, ResourceUsageHour, ResourceUsageDay, HostUsage])
def test_a_table_of_history_has_one_index_which_on_sqlite_is_the_table_itself(model: type[ResourceUsage]) -> None:
    table = model._meta.db_table
    with connection.cursor() as cursor:
        constraints = connection.introspection.get_constraints(cursor, table)
        indexes = [found for found in constraints.values() if found["index"] or found["unique"]]
        assert all(found["primary_key"] for found in indexes)
        if connection.vendor == "sqlite":
            cursor.execute("SELECT sql FROM sqlite_master WHERE name = %s", [table])
            assert cursor.fetchone()[0].endswith("WITHOUT ROWID")


def test_one_programs_stretch_of_time_is_found_by_the_key_alone() -> None:
    rows = ResourceUsage.objects.filter(period__in=[60, 120], program=7, timestamp__range=(70, 130))
    sql, values = rows.query.sql_with_params()
    assert_seeks_by_primary_key(explain(sql, values))


def test_no_table_of_history_is_taken_for_damaged() -> None:
    """`backup` and `doctor` ask SQLite, and would refuse a sound database."""
    for tier in TIERS:
        store_usage(tier, 7, NOON)
    store_host_usage(Host.objects.create(name="nas"), RAW, NOON)
    assert [found.summary for found in database() if found.status != "ok"] == []
