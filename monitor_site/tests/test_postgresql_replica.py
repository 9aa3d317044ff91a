"""History and events from a standby that streams from the primary."""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import psycopg
import pytest

from core.tests.servers import Standby, are_there, postgresql, redis_server, standby

from .installation import Installation, wait_until
from .test_postgresql import Site

pytestmark = pytest.mark.skipif(
    not are_there() and "CI" not in os.environ, reason="no PostgreSQL or no Redis on this machine"
)


class ReplicatedSite(Site):
    def __init__(self, installation: Installation, database: str, redis_url: str, replica: Standby) -> None:
        super().__init__(installation, database, redis_url)
        self.standby = replica
        installation.environment |= {"DATABASE_REPLICA_URL": replica.url, "REPLICA_MAX_LAG_SECONDS": "20"}

    def replica(self) -> dict[str, Any]:
        found: dict[str, Any] = self.system()["database"]["replica"]
        return found

    def is_used(self) -> bool:
        self.all_events()  # reading has it measured
        return bool(self.replica()["used"])

    def all_events(self) -> str:
        return json.dumps(self.ask("GET", "/api/events?per_page=200&type=program.created"))

    def on_standby(self, statement: str) -> None:
        with psycopg.connect(self.standby.url, autocommit=True) as connection:
            connection.execute(statement)


@pytest.fixture
def site(empty_installation: Installation) -> Iterator[ReplicatedSite]:
    with ExitStack() as stack:
        database, redis_url = stack.enter_context(postgresql()), stack.enter_context(redis_server())
        replica = stack.enter_context(standby(database))
        site = ReplicatedSite(empty_installation, database, redis_url, replica)
        stack.enter_context(contextlib.closing(site.database))
        stack.enter_context(contextlib.closing(site.redis))
        yield site
        empty_installation.end_processes()


def test_a_replica_answers_while_it_keeps_up_and_the_primary_otherwise(site: ReplicatedSite) -> None:
    with site.standby.serve():
        site.start()
        wait_until(site.is_used)
        program = site.define("first", "sleep 120")
        wait_until(lambda: "first" in site.all_events())
        wait_until(lambda: site.points(program))
        the_doctor_says(site, "answers for history and events")
        site.on_standby("SELECT pg_wal_replay_pause()")
        site.define("second", "sleep 120", autostart=False)
        # A standby that lags within the limit shows what it has; definitions come from the primary.
        assert "second" not in site.all_events()
        assert "second" in json.dumps(site.ask("GET", "/api/programs"))
        wait_until(lambda: "second" in site.all_events())
        found = site.replica()
        assert (found["used"], found["problem"]) == (False, "it lags by more than 20 s")
        assert found["lag_seconds"] > 20
        the_doctor_says(site, "it lags by more than 20 s")
        site.on_standby("SELECT pg_wal_replay_resume()")
        wait_until(lambda: site.is_used() and site.replica()["lag_seconds"] < 20)
    # It is gone now, with the connections that the web process had to it.
    assert "second" in site.all_events()
    newest = time.time()
    wait_until(lambda: [at for at, _ in site.points(program) if at > newest])
    wait_until(lambda: not site.replica()["used"])
    with site.standby.serve():
        wait_until(site.is_used)
        wait_until(lambda: "second" in site.all_events())


def the_doctor_says(site: ReplicatedSite, text: str) -> None:
    assert text in site.installation.run("doctor").stdout


def test_another_database_is_not_taken_for_a_replica(empty_installation: Installation) -> None:
    with postgresql() as database, postgresql() as other, redis_server() as redis_url:
        site = Site(empty_installation, database, redis_url)
        with contextlib.closing(site.database), contextlib.closing(site.redis):
            empty_installation.environment |= {"DATABASE_REPLICA_URL": other}
            done = empty_installation.run("doctor")
            assert "it is not a standby of the database in DATABASE_URL" in done.stdout


def test_a_replica_of_sqlite_is_refused_in_a_sentence(empty_installation: Installation) -> None:
    done = empty_installation.run(
        "prepare", DATABASE_URL="", DATABASE_REPLICA_URL="postgres://monitor@127.0.0.1:1/monitor"
    )
    assert done.returncode == 1
    assert "DATABASE_REPLICA_URL needs PostgreSQL in DATABASE_URL too." in done.stderr
