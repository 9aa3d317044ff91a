"""Query plans of usage tables, and what they must look like on each database."""

from __future__ import annotations

import re

from django.db import connection


def explain(sql: str, values: tuple[int | str, ...] = ()) -> str:
    """Call it in a transaction. Sequential scans are off, because PostgreSQL prefers them for small tables."""
    with connection.cursor() as cursor:
        if connection.vendor == "sqlite":
            cursor.execute(f"EXPLAIN QUERY PLAN {sql}", values)
        else:
            cursor.execute("SET LOCAL enable_seqscan = off; SET LOCAL enable_bitmapscan = off")
            cursor.execute(f"EXPLAIN {sql}", values)
        return "\n".join(str(row[-1]) for row in cursor.fetchall())


KEY_RANGE = {
    "sqlite": r"PRIMARY KEY \(period=\? AND program_id=\? AND timestamp>\? AND timestamp<\?\)",
    "postgresql": r"Index Cond: .*period = ANY .*program_id = \d+.*timestamp\"? >=? .*timestamp\"? <=? ",
}
KEY_ORDER = {"sqlite": r"USING PRIMARY KEY \(period", "postgresql": r"Index Scan Backward using \w+_pkey"}
EXPENSIVE = {"sqlite": r"SCAN|TEMP B-TREE", "postgresql": r"Seq Scan|Sort|Filter:"}


def assert_seeks_by_primary_key(plan: str) -> None:
    assert re.search(KEY_RANGE[connection.vendor], plan), plan
    assert not re.search(r"\bSCAN|Seq Scan|Filter:", plan), plan


def assert_scans_in_key_order(plan: str) -> None:
    assert re.search(KEY_ORDER[connection.vendor], plan), plan[:500]
    assert not re.search(EXPENSIVE[connection.vendor], plan), plan[:500]
