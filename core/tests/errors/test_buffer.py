"""The error buffer of a process, and the thread that writes it."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import OperationalError, transaction

from core.errors import store
from core.errors.buffer import MAX_GROUPS, ErrorBuffer
from core.errors.occurrence import Occurrence
from core.models import ErrorGroup
from core.tests.databases import locked_database
from core.tests.errors.factories import catch, fail, write


@pytest.fixture
def error_buffer() -> ErrorBuffer:
    """A buffer without a thread, as in the agent."""
    made = ErrorBuffer()
    made.open("web")
    made.disable_writer_thread()
    return made


def test_a_buffer_that_was_not_opened_discards_errors() -> None:
    error_buffer = ErrorBuffer()
    error_buffer.record(catch(fail))
    assert not error_buffer.has_pending


@pytest.mark.django_db
def test_many_equal_errors_are_one_row_written_once(
    error_buffer: ErrorBuffer, django_assert_num_queries: Any
) -> None:
    error = catch(fail)
    for _ in range(5000):
        error_buffer.record(error, "GET x")
    with django_assert_num_queries(7):
        write(error_buffer)
    row = ErrorGroup.objects.get()
    assert (row.count, row.kind, row.process, row.place) == (5000, "ValueError", "web", "GET x")
    assert "in fail" in row.traceback
    assert not error_buffer.has_pending
    for _ in range(5000):
        error_buffer.record(error)
    with django_assert_num_queries(3):
        write(error_buffer)
    assert ErrorGroup.objects.get().count == 10_000


@pytest.mark.django_db
def test_the_number_of_kinds_is_limited(error_buffer: ErrorBuffer, capsys: Any) -> None:
    for number in range(MAX_GROUPS + 30):
        error_buffer.record(type(f"Made{number}Error", (Exception,), {})())
    assert error_buffer.dropped == 30
    write(error_buffer)
    assert ErrorGroup.objects.count() == MAX_GROUPS
    assert error_buffer.dropped == 0


@pytest.mark.django_db
def test_a_failed_write_is_retried(error_buffer: ErrorBuffer, monkeypatch: pytest.MonkeyPatch) -> None:
    error_buffer.record(catch(fail))
    with monkeypatch.context() as patched:
        patched.setattr(store, "add", _locked)
        with pytest.raises(OperationalError):
            write(error_buffer)
    error_buffer.record(catch(fail))
    assert error_buffer.has_pending
    write(error_buffer)
    assert [row.count for row in ErrorGroup.objects.all()] == [2]


@pytest.mark.django_db
def test_a_write_that_was_rolled_back_is_repeated(error_buffer: ErrorBuffer) -> None:
    error_buffer.record(catch(fail))
    with pytest.raises(OperationalError), transaction.atomic():
        error_buffer.write()
        raise OperationalError("the commit failed")
    assert ErrorGroup.objects.count() == 0
    write(error_buffer)
    assert ErrorGroup.objects.get().count == 1


def _locked(occurrence: Occurrence) -> None:
    raise OperationalError("database is locked")


def test_recording_never_raises(error_buffer: ErrorBuffer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("core.errors.buffer.format_traceback", lambda error: 1 / 0)
    error_buffer.record(catch(fail))
    assert not error_buffer.has_pending


def test_errors_of_several_threads_are_all_counted(error_buffer: ErrorBuffer) -> None:
    def fail_often() -> None:
        for _ in range(500):
            error_buffer.record(catch(fail))

    threads = [threading.Thread(target=fail_often) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    [group] = error_buffer._pending.values()
    assert group.count == 4000


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there are no forks on this system")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_forked_child_does_not_write_errors_of_its_parent(error_buffer: ErrorBuffer) -> None:
    error_buffer.record(catch(fail))
    child = os.fork()
    if child == 0:
        os._exit(1 if error_buffer.has_pending else 0)
    assert os.waitpid(child, 0)[1] == 0
    assert error_buffer.has_pending


@pytest.mark.django_db
def test_a_long_command_name_is_cut_to_its_column(error_buffer: ErrorBuffer) -> None:
    error_buffer.open("x" * 500)
    error_buffer.disable_writer_thread()
    error_buffer.record(catch(fail))
    write(error_buffer)
    assert len(ErrorGroup.objects.get().process) <= 40


# --- The thread ----------------------------------------------------------------------------------------


def wait_for(condition: Callable[[], Any], seconds: float = 60.0) -> Any:
    until = time.monotonic() + seconds
    while not (found := condition()):
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
def test_the_thread_writes_soon(with_thread: ErrorBuffer) -> None:
    with_thread.record(catch(fail))
    row = wait_for(lambda: ErrorGroup.objects.first())
    assert (row.count, row.process, row.host) == (1, "web", "testhost")


@pytest.mark.django_db(transaction=True)
def test_a_locked_database_blocks_no_caller_and_loses_no_error(with_thread: ErrorBuffer) -> None:
    with locked_database():
        error = catch(fail)
        for _ in range(1000):
            with_thread.record(error)
        wait_for(lambda: with_thread._in_flight or not with_thread._pending or threading.active_count() > 1)
        assert with_thread.has_pending
    wait_for(lambda: not with_thread.has_pending)
    assert ErrorGroup.objects.get().count == 1000


@pytest.mark.django_db(transaction=True)
def test_closing_the_buffer_writes_pending_errors() -> None:
    error_buffer = ErrorBuffer()
    error_buffer.open("web")
    error_buffer.disable_writer_thread()
    error_buffer.record(catch(fail))
    error_buffer.close(30)
    assert ErrorGroup.objects.get().count == 1
