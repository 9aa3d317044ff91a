"""Batches that the apps above have written by the journal's thread."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.db import OperationalError, connection
from django.utils import timezone

from core.models import Heartbeat
from core.tests.databases import locked_database
from programs.hosts import this_host
from programs.models import ProgramEvent
from programs.supervisor.journal import Entry, Journal
from programs.supervisor.state_machine import make_event
from programs.tests.actors import wait_for


@pytest.fixture
def journal(transactional_db: None, tmp_path: Path) -> Iterator[Journal]:
    journal = Journal(tmp_path / "journal", this_host())
    yield journal
    journal.close(timeout=60)


def note(name: str) -> None:
    Heartbeat.objects.create(name=name, at="2026-01-01T00:00:00Z")


def noted() -> list[str]:
    return list(Heartbeat.objects.order_by("name").values_list("name", flat=True))


def test_a_batch_runs_in_the_writer_thread_in_a_transaction_of_its_own(journal: Journal) -> None:
    seen: list[tuple[str, bool]] = []
    journal.put_batch(lambda: seen.append((threading.current_thread().name, connection.in_atomic_block)))
    journal.start()
    assert wait_for(lambda: seen) == [("journal", True)]


def test_a_batch_that_was_put_twice_runs_once(journal: Journal) -> None:
    runs: list[int] = []

    def work() -> None:
        runs.append(1)

    for _ in range(5):
        journal.put_batch(work)
    journal.start()
    journal.close(timeout=60)
    assert runs == [1]


def test_a_last_batch_runs_at_the_close_after_everything_else(journal: Journal) -> None:
    done: list[str] = []
    journal.put_last(lambda: done.append(f"last, in a transaction: {connection.in_atomic_block}"))
    journal.put_batch(lambda: done.append("a batch"))
    journal.start()
    wait_for(lambda: done)
    assert done == ["a batch"]
    journal.put(Entry(event=make_event("agent.started", timezone.now(), {})))
    journal.put_batch(lambda: done.append(f"another, after {ProgramEvent.objects.count()} event"))
    assert journal.close(timeout=60)
    assert done == ["a batch", "another, after 1 event", "last, in a transaction: True"]


def test_entries_go_first(journal: Journal) -> None:
    found: list[int] = []
    journal.put_batch(lambda: found.append(ProgramEvent.objects.count()))
    journal.put(Entry(event=make_event("agent.started", timezone.now(), {})))
    journal.start()
    assert wait_for(lambda: found) == [1]


def test_a_batch_may_go_on_in_another_transaction(journal: Journal) -> None:
    def work() -> None:
        note(f"part {Heartbeat.objects.count()}")
        if Heartbeat.objects.count() < 3:
            journal.put_batch(work)

    journal.start()
    journal.put_batch(work)
    wait_for(lambda: len(noted()) == 3)


def test_what_a_failed_batch_wrote_is_rolled_back_and_others_go_on(journal: Journal) -> None:
    def fail() -> None:
        note("half done")
        raise ValueError("cannot be written")

    journal.start()
    journal.put_batch(fail)
    journal.put_batch(lambda: note("the other"))
    wait_for(lambda: "the other" in noted())
    assert noted() == ["the other"]


def test_a_batch_that_never_succeeds_starves_no_other(journal: Journal) -> None:
    def stuck() -> None:
        raise OperationalError("no such table")

    journal.start()
    journal.put_batch(stuck)
    time.sleep(0.05)
    journal.put_batch(lambda: note("the other"))
    journal.put_batch(stuck)
    wait_for(lambda: noted() == ["the other"])


def test_a_batch_waits_for_a_database_that_is_unavailable(journal: Journal) -> None:
    with locked_database():
        journal.start()
        journal.put_batch(lambda: note("late"))
        time.sleep(0.3)
        assert noted() == []
    wait_for(lambda: noted() == ["late"])


def test_a_closing_journal_writes_the_batches_that_wait(journal: Journal) -> None:
    journal.start()
    journal.put_batch(lambda: note("last"))
    assert journal.close(timeout=60)
    assert noted() == ["last"]


def test_without_a_write_no_process_is_woken(transactional_db: None, tmp_path: Path) -> None:
    woken: list[int] = []
    journal = Journal(tmp_path / "journal", this_host(), on_written=lambda: woken.append(1))
    done: list[int] = []
    journal.start()
    for number in range(3):
        journal.flush_latest()
        journal.put_batch(lambda number=number: done.append(number))  # type: ignore[misc]
    wait_for(lambda: len(done) == 3)
    assert woken == []
    journal.put(Entry(event=make_event("agent.started", timezone.now(), {})))
    journal.close(timeout=5)
    assert woken == [1]
