"""How the database would find rows of history, and what that must look like on each kind of it."""

from __future__ import annotations

import re

from django.db import connection


def explain(sql: str, values: tuple[int | str, ...] = ()) -> str:
    """Inside a transaction. PostgreSQL reads a small table as a whole; here it is asked as if it were large."""
    with connection.cursor() as cursor:
        if connection.vendor == "sqlite":
            cursor.execute(f"EXPLAIN QUERY PLAN {sql}", values)
        else:
            cursor.execute("SET LOCAL enable_seqscan = off; SET LOCAL enable_bitmapscan = off")
            cursor.execute(f"EXPLAIN {sql}", values)
        return "\n".join(str(row[-1]) for row in cursor.fetchall())


ONE_STRETCH = {
    "sqlite": r"PRIMARY KEY \(period=\? AND program_id=\? AND timestamp>\? AND timestamp<\?\)",
    "postgresql": r"Index Cond: .*period = ANY .*program_id = \d+.*timestamp\"? >=? .*timestamp\"? <=? ",
}
IN_ITS_ORDER = {"sqlite": r"USING PRIMARY KEY \(period", "postgresql": r"Index Scan Backward using \w+_pkey"}
DEAR = {"sqlite": r"SCAN|TEMP B-TREE", "postgresql": r"Seq Scan|Sort|Filter:"}


def assert_seeks_by_primary_key(plan: str) -> None:
    assert re.search(ONE_STRETCH[connection.vendor], plan), plan
    assert not re.search(r"\bSCAN|Seq Scan|Filter:", plan), plan


def assert_scans_in_key_order(plan: str) -> None:
    assert re.search(IN_ITS_ORDER[connection.vendor], plan), plan[:500]
    assert not re.search(DEAR[connection.vendor], plan), plan[:500]
