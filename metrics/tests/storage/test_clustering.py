"""Usage tables are clustered by their primary key."""

from __future__ import annotations

import pytest
from django.db import connection

from core.doctor_checks import database
from metrics.models import HostUsage, ResourceUsage, ResourceUsageDay, ResourceUsageHour
from metrics.storage.tiers import RAW, TIERS
from metrics.tests.history import NOON, store_host_usage, store_usage
from metrics.tests.query_plans import assert_seeks_by_primary_key, explain
from programs.models import Host

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("model", [ResourceUsage, ResourceUsageHour, ResourceUsageDay, HostUsage])
def test_a_usage_table_has_one_index_which_on_sqlite_is_the_table(model: type[ResourceUsage]) -> None:
    table = model._meta.db_table
    with connection.cursor() as cursor:
        constraints = connection.introspection.get_constraints(cursor, table)
        indexes = [found for found in constraints.values() if found["index"] or found["unique"]]
        assert all(found["primary_key"] for found in indexes)
        if connection.vendor == "sqlite":
            cursor.execute("SELECT sql FROM sqlite_master WHERE name = %s", [table])
            assert cursor.fetchone()[0].endswith("WITHOUT ROWID")


def test_a_time_range_of_one_program_is_found_by_the_primary_key() -> None:
    rows = ResourceUsage.objects.filter(period__in=[60, 120], program=7, timestamp__range=(70, 130))
    sql, values = rows.query.sql_with_params()
    assert_seeks_by_primary_key(explain(sql, values))


def test_sqlite_finds_no_usage_table_corrupt() -> None:
    # `backup` and `doctor` run this check, and would refuse the database.
    for tier in TIERS:
        store_usage(tier, 7, NOON)
    store_host_usage(Host.objects.create(name="nas"), RAW, NOON)
    assert [found.summary for found in database() if found.status != "ok"] == []
