"""Transactions that are open at the same time, as those of several hosts are on PostgreSQL."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest
from django.db import connection, transaction

from core import key_rotation
from core.models import Sequence
from programs import events, services, status
from programs.formats import Imported
from programs.importing import import_definitions
from programs.models import Intent, Process, Program, ProgramEvent
from programs.states import Action
from programs.supervisor import desired_state, journal

from .api_rig import define, host

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif("connection.vendor != 'postgresql'", reason="SQLite has one writer at a time"),
]
ROUNDS = 25


class Other:
    """Another host's transaction. `do` runs there and is waited for."""

    def __init__(self, pool: ThreadPoolExecutor) -> None:
        self._pool = pool

    def do(self, call: Callable[[], Any]) -> Any:
        return self._pool.submit(call).result(timeout=60)


@contextmanager
def open_elsewhere(call: Callable[[], Any]) -> Iterator[Other]:
    """`call` was made in a transaction of another connection, which commits when the block is left."""
    with ThreadPoolExecutor(1) as pool:
        other, block = Other(pool), transaction.atomic()
        try:
            other.do(block.__enter__)
            other.do(call)
            yield other
        finally:
            other.do(lambda: block.__exit__(None, None, None))
            other.do(lambda: connection.close())


def record() -> ProgramEvent:
    with transaction.atomic():
        return events.record("agent.started", actor="test")


def changed_since(revision: int) -> tuple[int, list[str]]:
    """How far it looked, and the names of the programs."""
    now = status.read_host_state()
    return now.revision, [program["name"] for program in status.changed_programs(now, revision)]


def seqs() -> list[int]:
    return list(ProgramEvent.objects.order_by("seq").values_list("seq", flat=True))


def test_an_open_transaction_holds_up_no_other_and_is_numbered_when_it_commits() -> None:
    host()
    slow, quick = define("slow"), define("quick")
    before = Sequence.current()

    def slowly() -> None:
        services.request(slow, Action.START, actor="slow")
        record()

    with open_elsewhere(slowly):
        services.request(quick, Action.START, actor="quick")
        record()
        known, seen = changed_since(before)
        assert seen == ["quick"]
    later, seen = changed_since(known)
    assert seen == ["slow"]
    first, second = seqs()[-2:]
    assert first <= known < second <= later


def test_every_kind_of_numbered_row_gets_numbers_in_the_order_of_its_transaction() -> None:
    host()
    program = define()
    before = Sequence.current()
    with transaction.atomic():
        first = events.record("program.started", program=program)
        services.request(program, Action.START, actor="x")
        Process.objects.create(program=program, index=0, state="running", revision=Sequence.advance(by=3))
        last = events.record("program.running", program=program)
    assert (Program.objects.get().revision, Intent.objects.get().revision) == (before + 2, before + 2)
    assert Process.objects.get().revision == before + 3
    first.refresh_from_db()
    last.refresh_from_db()
    assert (first.seq, last.seq, Sequence.current()) == (before + 1, before + 6, before + 6)
    assert not Sequence.objects.exclude(name="revision").exists()


def test_a_savepoint_that_is_undone_leaves_nothing_to_number() -> None:
    before = Sequence.current()
    with transaction.atomic():
        with pytest.raises(ZeroDivisionError), transaction.atomic():
            events.record("agent.started")
            1 / 0  # noqa: B018
        kept = events.record("agent.started")
    kept.refresh_from_db()
    assert (kept.seq, Sequence.current()) == (before + 1, before + 1)


def test_a_transaction_that_is_undone_uses_no_number() -> None:
    before = Sequence.current()
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        events.record("agent.started")
        1 / 0  # noqa: B018
    assert (Sequence.current(), seqs()) == (before, [])


def test_what_was_saved_carries_its_number() -> None:
    program = define()
    assert program.revision == Program.objects.get().revision > 0


def test_a_revision_is_never_seen_before_all_that_belongs_to_it() -> None:
    """Writers commit all the time; readers note what they find up to each revision they see."""
    stop, found = threading.Event(), set[int]()

    def write() -> None:
        while not stop.is_set():
            with transaction.atomic():
                events.record("agent.started")
                events.record("agent.started")
        connection.close()

    writers = [threading.Thread(target=write) for _ in range(3)]
    known = Sequence.current()
    for writer in writers:
        writer.start()
    while len(found) < 300:
        now = Sequence.current()
        rows = ProgramEvent.objects.filter(seq__gt=known, seq__lte=now)
        found.update(rows.values_list("seq", flat=True))
        known = now
    stop.set()
    for writer in writers:
        writer.join()
    assert found == set(ProgramEvent.objects.filter(seq__lte=known).values_list("seq", flat=True))


def test_requests_definitions_removals_and_agents_never_wait_for_each_other_in_a_circle() -> None:
    """PostgreSQL would end one of them with an error."""
    here = host()
    names = [f"p{number}" for number in range(6)]
    programs = [define(name) for name in names]
    definitions: list[Any] = [{"name": name, "command": "sleep 1"} for name in reversed(names)]

    def request() -> None:
        services.request_many(programs, Action.START, actor="a")
        services.request_many(reversed(programs), Action.STOP, actor="b")

    def import_() -> None:
        import_definitions(Imported(definitions), update=True, dry_run=False, actor="c")

    def save() -> None:
        for program in reversed(programs):
            services.save_definition({"description": "x"}, program=program, actor="d")
        key_rotation.re_encrypt_all()

    def agent() -> None:
        entries = [
            journal.Entry(process=(program.pk, 0), values={"state": "running"}, desired="running", number=number)
            for number, program in enumerate(reversed(programs))
        ]
        journal.write(entries, {}, here.pk)

    def repeat(call: Callable[[], None]) -> None:
        try:
            for _ in range(ROUNDS):
                call()
        finally:
            connection.close()

    with ThreadPoolExecutor(5) as pool:
        for done in [pool.submit(repeat, call) for call in (request, request, import_, save, agent)]:
            done.result()


def test_the_agent_sees_no_verb_without_its_desired_state() -> None:
    here = host()
    program = define(autostart=False)
    since = Sequence.current()
    with open_elsewhere(lambda: services.request(program, Action.START, actor="x")):
        record()
        assert desired_state.read(here, since).intents == []
    found = desired_state.read(here, since)
    assert [intent.verb for intent in found.intents] == ["start"]
    assert [program.desired_state for program in found.programs] == ["running"]
