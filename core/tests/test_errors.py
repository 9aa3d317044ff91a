"""Grouping, the ledger of a process, its writer, and what people see of it."""

from __future__ import annotations

import json
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest
import structlog
from django.contrib.auth.models import User
from django.db import OperationalError, transaction
from django.http import HttpRequest, HttpResponse
from django.test import AsyncClient, Client, TestCase
from django.urls import path
from structlog.contextvars import bound_contextvars

from core.access import Principal, Role
from core.errors import ledger as of_this_process
from core.errors import store
from core.errors.pending import MOST_GROUPS, Ledger
from core.errors.sighting import LONGEST_MESSAGE, LONGEST_TRACEBACK, Sighting, sighted, traceback_of
from core.models import AuditEntry, ErrorGroup
from core.tests.databases import locked_database

TOKEN = "pm_1a2b3c4d_" + "x" * 43
NOON = datetime(2026, 11, 2, 12, tzinfo=UTC)
LogIn = Callable[[Role], Client]


def caught(fail: Callable[[], Any]) -> Exception:
    try:
        fail()
    except Exception as error:
        return error
    raise AssertionError("it did not fail")


def refuse(value: object = "") -> None:
    raise ValueError(f"cannot use {value}")


def seen(error: Exception, at: datetime = NOON) -> Sighting:
    return sighted(error, "web", "GET x", at)


# --- Grouping -------------------------------------------------------------------------------------------


def test_the_same_fault_with_other_values_is_one_group() -> None:
    one, other = (seen(caught(partial(refuse, value))) for value in (1, 2))
    assert one.fingerprint == other.fingerprint
    assert (one.message, other.message) == ("cannot use 1", "cannot use 2")
    assert one.culprit == "core.tests.test_errors.refuse"


def test_lines_that_move_do_not_make_another_group() -> None:
    source = "def refuse():\n    raise ValueError\nrefuse()"
    moved = (caught(partial(exec, text, {"__name__": "programs.x"})) for text in (source, "\n\n" + source))
    assert len({seen(error).fingerprint for error in moved}) == 1


def test_another_type_or_another_caller_is_another_group() -> None:
    def another_caller() -> None:
        refuse()

    def type_error() -> None:
        raise TypeError("x")

    def key_error() -> None:
        raise KeyError("x")

    errors = [caught(fail) for fail in (refuse, another_caller, type_error, key_error)]
    assert len({seen(error).fingerprint for error in errors}) == 4


def test_frames_of_libraries_do_not_count_while_one_is_ours() -> None:
    error = caught(lambda: json.loads("{"))
    assert seen(error).culprit.startswith("core.tests.test_errors.")
    foreign = AttributeError()
    assert (seen(foreign).kind, seen(foreign).culprit) == ("AttributeError", "")


def test_how_deep_a_function_called_itself_does_not_matter() -> None:
    def sink(depth: int) -> None:
        if depth == 0:
            raise ValueError
        sink(depth - 1)

    prints = {seen(caught(partial(sink, depth))).fingerprint for depth in (1, 2, 50)}
    assert len(prints) == 1


def test_one_error_of_a_task_group_counts_as_itself() -> None:
    def fail() -> None:
        raise ExceptionGroup("several", [ValueError("the one")])

    assert (seen(caught(fail)).kind, seen(caught(fail)).message) == ("ValueError", "the one")


def test_secrets_and_line_breaks_do_not_get_into_the_message() -> None:
    message = seen(caught(lambda: refuse(f"{TOKEN}\nforged\x1b[2J" + "y" * 9999))).message
    assert "x" * 43 not in message
    assert not {"\n", "\x1b"} & set(message)
    assert len(message) == LONGEST_MESSAGE


def test_an_error_that_cannot_say_what_it_is_is_counted_all_the_same() -> None:
    class MuteError(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    def fail() -> None:
        raise MuteError

    assert seen(caught(fail)).message == "(its text could not be made: RuntimeError)"


def test_a_traceback_is_bounded_masked_and_without_values() -> None:
    hidden_local = "hunter" + str(2)

    def recurse() -> None:
        assert hidden_local
        recurse()

    text = traceback_of(caught(recurse))
    assert len(text) <= LONGEST_TRACEBACK
    assert "hunter2" not in text
    text = traceback_of(caught(lambda: refuse(TOKEN)))
    assert "x" * 43 not in text
    assert "in refuse" in text


# --- The ledger -----------------------------------------------------------------------------------------


@pytest.fixture
def ledger() -> Ledger:
    """Of a process that has another writer, as the agent has."""
    made = Ledger()
    made.open("web")
    made.leave_writing_to_others()
    return made


def write(ledger: Ledger) -> None:
    with TestCase.captureOnCommitCallbacks(execute=True), transaction.atomic():
        ledger.write()


def test_a_process_that_was_not_asked_to_keeps_nothing() -> None:
    ledger = Ledger()
    ledger.note(caught(refuse))
    assert not ledger.is_waiting


@pytest.mark.django_db
def test_a_storm_is_one_row_written_once(ledger: Ledger, django_assert_num_queries: Any) -> None:
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
def test_a_storm_of_many_kinds_is_bounded_and_told(ledger: Ledger, capsys: Any) -> None:
    for number in range(MOST_GROUPS + 30):
        ledger.note(type(f"Made{number}Error", (Exception,), {})())
    assert ledger.dropped == 30
    write(ledger)
    assert ErrorGroup.objects.count() == MOST_GROUPS
    assert ledger.dropped == 0


@pytest.mark.django_db
def test_what_the_database_did_not_take_is_kept_and_written_later(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
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
def test_what_was_rolled_back_after_it_was_written_is_written_again(ledger: Ledger) -> None:
    ledger.note(caught(refuse))
    with pytest.raises(OperationalError), transaction.atomic():
        ledger.write()
        raise OperationalError("the commit failed")
    assert ErrorGroup.objects.count() == 0
    write(ledger)
    assert ErrorGroup.objects.get().count == 1


def _locked(seen: Sighting) -> None:
    raise OperationalError("database is locked")


def test_noting_never_raises(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("core.errors.pending.traceback_of", lambda error: 1 / 0)
    ledger.note(caught(refuse))
    assert not ledger.is_waiting


def test_errors_of_many_threads_are_all_counted(ledger: Ledger) -> None:
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
def test_a_forked_child_does_not_write_what_its_parent_noted(ledger: Ledger) -> None:
    ledger.note(caught(refuse))
    child = os.fork()
    if child == 0:
        os._exit(1 if ledger.is_waiting else 0)
    assert os.waitpid(child, 0)[1] == 0
    assert ledger.is_waiting


# --- Its thread -----------------------------------------------------------------------------------------


def wait_for(look: Callable[[], Any], seconds: float = 60.0) -> Any:
    until = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < until
        time.sleep(0.02)
    return found


@pytest.fixture
def with_thread() -> Iterator[Ledger]:
    made = Ledger()
    made.open("web")
    yield made
    made.close(30)


@pytest.mark.django_db(transaction=True)
def test_a_thread_writes_soon_and_by_itself(with_thread: Ledger) -> None:
    with_thread.note(caught(refuse))
    row = wait_for(lambda: ErrorGroup.objects.first())
    assert (row.count, row.process, row.host) == (1, "web", "testhost")


@pytest.mark.django_db(transaction=True)
def test_a_locked_database_blocks_nobody_and_loses_nothing(with_thread: Ledger) -> None:
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
    ledger = Ledger()
    ledger.open("web")
    ledger.leave_writing_to_others()
    ledger.note(caught(refuse))
    ledger.close(30)
    assert ErrorGroup.objects.get().count == 1


# --- In the database ------------------------------------------------------------------------------------


@pytest.mark.django_db
def test_a_resolved_group_opens_when_the_error_comes_again_and_not_before(person: Callable[[], User]) -> None:
    store.add(seen(caught(refuse), NOON))
    group = ErrorGroup.objects.get()
    alice = Principal(person(), Role.ADMIN, "alice")
    assert store.resolve([group], alice) == 1
    assert store.resolve([group], alice) == 0
    store.add(seen(caught(refuse), NOON + timedelta(seconds=1)))  # noted before, written later
    group.refresh_from_db()
    assert (group.resolved_by, group.resolved_at is not None) == ("alice", True)
    store.add(seen(caught(refuse), datetime.now(UTC) + timedelta(seconds=1)))
    group.refresh_from_db()
    assert (group.count, group.resolved_at, group.first_seen_at) == (3, None, NOON)
    assert AuditEntry.objects.filter(action="error.resolve", actor="alice").count() == 1


@pytest.mark.django_db
def test_old_groups_are_forgotten_a_slice_at_a_time() -> None:
    for number in range(5):
        store.add(seen(type(f"Made{number}Error", (Exception,), {})(), NOON - timedelta(days=number)))
    assert store.expire(NOON - timedelta(days=1), 2) == 2
    assert store.expire(NOON - timedelta(days=1), 2) == 1
    assert sorted(row.kind[-10:] for row in ErrorGroup.objects.all()) == ["Made0Error", "Made1Error"]


# --- Where errors come from -----------------------------------------------------------------------------


@pytest.fixture
def noted(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], list[Sighting]]]:
    """What this process noted since; it begins to keep account."""
    monkeypatch.setattr(of_this_process, "process", "web")
    yield lambda: list(of_this_process._waiting.values())
    of_this_process._waiting.clear()


def test_what_is_logged_with_its_exception_is_noted_whoever_logs_it(noted: Any) -> None:
    for log in (structlog.get_logger("x"), logging.getLogger("x")):
        try:
            refuse()
        except ValueError as error:
            log.exception("failed")
            log.error("failed", exc_info=error)
            log.warning("told only", exc_info=True)
        log.error("no exception")
    assert [group.count for group in noted()] == [4]


def test_what_an_error_was_about_is_its_place(noted: Any) -> None:
    log = structlog.get_logger("x")
    with bound_contextvars(service="collector"):
        log.error("failed", exc_info=caught(refuse))
    assert noted()[0].place == "service collector"
    log.error("failed", exc_info=caught(refuse), program="web")
    assert noted()[0].place == "program web"


def broken_page(request: HttpRequest, number: int) -> HttpResponse:
    refuse(number)
    return HttpResponse()


urlpatterns = [path("broken/<int:number>/", broken_page)]


@pytest.mark.urls(__name__)
@pytest.mark.django_db
def test_a_page_that_raises_is_noted_under_its_route(noted: Any) -> None:
    client = Client(raise_request_exception=False)
    answers = [client.get(f"/broken/{number}/") for number in (1, 2, 3)]
    assert {answer.status_code for answer in answers} == {500}
    [group] = noted()
    assert (group.count, group.kind, group.place) == (3, "ValueError", "GET broken/<int:number>/")
    assert group.culprit == "core.tests.test_errors.refuse"


@pytest.mark.urls(__name__)
@pytest.mark.django_db(transaction=True)
async def test_so_it_is_under_asgi(noted: Any) -> None:
    answer = await AsyncClient(raise_request_exception=False).get("/broken/1/")
    assert answer.status_code == 500
    assert [(group.count, group.place) for group in noted()] == [(1, "GET broken/<int:number>/")]


# --- What people see ------------------------------------------------------------------------------------


@pytest.fixture
def group(db: None) -> ErrorGroup:
    ledger = Ledger()
    ledger.open("web")
    ledger.leave_writing_to_others()
    ledger.note(caught(lambda: refuse("<b>x</b>")), "GET x")
    write(ledger)
    return ErrorGroup.objects.get()


LIST = "/admin/core/errorgroup/"


def test_everyone_reads_the_list_and_administrators_the_traceback(logged_in: LogIn, group: ErrorGroup) -> None:
    for role, sees in ((Role.READ, False), (Role.OPERATE, False), (Role.ADMIN, True)):
        client = logged_in(role)
        assert "cannot use &lt;b&gt;x" in client.get(LIST).content.decode()
        page = client.get(f"{LIST}{group.pk}/change/").content.decode()
        assert ("in refuse" in page, "GET x" in page) == (sees, True)


def test_only_operators_resolve_and_only_by_post(logged_in: LogIn, group: ErrorGroup) -> None:
    address = f"{LIST}{group.pk}/resolve/"
    assert logged_in(Role.READ).post(address).status_code == 403
    client = logged_in(Role.OPERATE)
    assert client.get(address).status_code == 405
    assert ErrorGroup.objects.filter(resolved_at=None).exists()
    assert client.post(address).status_code == 302
    assert ErrorGroup.objects.get().resolved_by == "operate-person"
    assert "resolved" in client.get(f"{LIST}?state=resolved").content.decode()


def test_several_are_resolved_at_once(logged_in: LogIn, group: ErrorGroup) -> None:
    logged_in(Role.OPERATE).post(LIST, {"action": "resolve_selected", "_selected_action": [group.pk]})
    assert not ErrorGroup.objects.filter(resolved_at=None).exists()


def test_nobody_adds_changes_or_deletes_one(logged_in: LogIn, group: ErrorGroup) -> None:
    client = logged_in(Role.ADMIN)
    assert client.get(f"{LIST}add/").status_code == 403
    assert client.post(f"{LIST}{group.pk}/change/", {"kind": "x"}).status_code == 403
    assert client.post(f"{LIST}{group.pk}/delete/", {"post": "yes"}).status_code == 403


def test_the_list_costs_the_same_however_long(logged_in: LogIn, django_assert_max_num_queries: Any) -> None:
    client = logged_in(Role.READ)
    for number in range(30):
        store.add(seen(type(f"Made{number}Error", (Exception,), {})()))
    with django_assert_max_num_queries(9):
        assert client.get(LIST).content.decode().count("Made") >= 30


@pytest.mark.django_db
def test_what_somebody_typed_as_a_command_fits_its_column(ledger: Ledger) -> None:
    ledger.open("x" * 500)
    ledger.leave_writing_to_others()
    ledger.note(caught(refuse))
    write(ledger)
    assert len(ErrorGroup.objects.get().process) <= 40
