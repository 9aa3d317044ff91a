"""The ledger of a process, and the thread that writes it."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import OperationalError, transaction

from core.errors import store
from core.errors.buffer import MOST_GROUPS, ErrorBuffer
from core.errors.occurrence import Occurrence
from core.models import ErrorGroup
from core.tests.databases import locked_database
from core.tests.errors.rig import caught, refuse, write


@pytest.fixture
def ledger() -> ErrorBuffer:
    """Of a process that has another writer, as the agent has."""
    made = ErrorBuffer()
    made.open("web")
    made.leave_writing_to_others()
    return made


def test_a_process_that_was_not_asked_to_keeps_nothing() -> None:
    ledger = ErrorBuffer()
    ledger.note(caught(refuse))
    assert not ledger.is_waiting


@pytest.mark.django_db
def test_a_storm_is_one_row_written_once(ledger: ErrorBuffer, django_assert_num_queries: Any) -> None:
    error = caught(refuse)
    for _ in range(5000):
        ledger.note(error, "GET x")
    with django_assert_num_queries(7):
        write(ledger)
    row = ErrorGroup.objects.get()
    assert (row.count, row.kind, row.process, row.place) == (5000, "ValueError", "web", "GET x")
    assert "in refuse" in row.traceback
    assert not ledger.is_waiting
    for _ in range(5000):
        ledger.note(error)
    with django_assert_num_queries(3):
        write(ledger)
    assert ErrorGroup.objects.get().count == 10_000


@pytest.mark.django_db
def test_a_storm_of_many_kinds_is_bounded_and_told(ledger: ErrorBuffer, capsys: Any) -> None:
    for number in range(MOST_GROUPS + 30):
        ledger.note(type(f"Made{number}Error", (Exception,), {})())
    assert ledger.dropped == 30
    write(ledger)
    assert ErrorGroup.objects.count() == MOST_GROUPS
    assert ledger.dropped == 0


@pytest.mark.django_db
def test_what_the_database_did_not_take_is_kept_and_written_later(
    ledger: ErrorBuffer, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger.note(caught(refuse))
    with monkeypatch.context() as patched:
        patched.setattr(store, "add", _locked)
        with pytest.raises(OperationalError):
            write(ledger)
    ledger.note(caught(refuse))
    assert ledger.is_waiting
    write(ledger)
    assert [row.count for row in ErrorGroup.objects.all()] == [2]


@pytest.mark.django_db
def test_what_was_rolled_back_after_it_was_written_is_written_again(ledger: ErrorBuffer) -> None:
    ledger.note(caught(refuse))
    with pytest.raises(OperationalError), transaction.atomic():
        ledger.write()
        raise OperationalError("the commit failed")
    assert ErrorGroup.objects.count() == 0
    write(ledger)
    assert ErrorGroup.objects.get().count == 1


def _locked(seen: Occurrence) -> None:
    raise OperationalError("database is locked")


def test_noting_never_raises(ledger: ErrorBuffer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("core.errors.buffer.traceback_of", lambda error: 1 / 0)
    ledger.note(caught(refuse))
    assert not ledger.is_waiting


def test_errors_of_many_threads_are_all_counted(ledger: ErrorBuffer) -> None:
    def fail_often() -> None:
        for _ in range(500):
            ledger.note(caught(refuse))

    threads = [threading.Thread(target=fail_often) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    [group] = ledger._waiting.values()
    assert group.count == 4000


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there are no forks on this system")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_forked_child_does_not_write_what_its_parent_noted(ledger: ErrorBuffer) -> None:
    ledger.note(caught(refuse))
    child = os.fork()
    if child == 0:
        os._exit(1 if ledger.is_waiting else 0)
    assert os.waitpid(child, 0)[1] == 0
    assert ledger.is_waiting


@pytest.mark.django_db
def test_what_somebody_typed_as_a_command_fits_its_column(ledger: ErrorBuffer) -> None:
    ledger.open("x" * 500)
    ledger.leave_writing_to_others()
    ledger.note(caught(refuse))
    write(ledger)
    assert len(ErrorGroup.objects.get().process) <= 40


# --- Its thread -----------------------------------------------------------------------------------------


def wait_for(look: Callable[[], Any], seconds: float = 60.0) -> Any:
    until = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < until
        time.sleep(0.02)
    return found


@pytest.fixture
def with_thread() -> Iterator[ErrorBuffer]:
    made = ErrorBuffer()
    made.open("web")
    yield made
    made.close(30)


@pytest.mark.django_db(transaction=True)
def test_a_thread_writes_soon_and_by_itself(with_thread: ErrorBuffer) -> None:
    with_thread.note(caught(refuse))
    row = wait_for(lambda: ErrorGroup.objects.first())
    assert (row.count, row.process, row.host) == (1, "web", "testhost")


@pytest.mark.django_db(transaction=True)
def test_a_locked_database_blocks_nobody_and_loses_nothing(with_thread: ErrorBuffer) -> None:
    with locked_database():
        error = caught(refuse)
        for _ in range(1000):
            with_thread.note(error)
        wait_for(lambda: with_thread._in_hand or not with_thread._waiting or threading.active_count() > 1)
        assert with_thread.is_waiting
    wait_for(lambda: not with_thread.is_waiting)
    assert ErrorGroup.objects.get().count == 1000


@pytest.mark.django_db(transaction=True)
def test_a_process_that_ends_writes_what_it_still_has() -> None:
    ledger = ErrorBuffer()
    ledger.open("web")
    ledger.leave_writing_to_others()
    ledger.note(caught(refuse))
    ledger.close(30)
    assert ErrorGroup.objects.get().count == 1
