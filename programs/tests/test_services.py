"""Concurrent actions of two people, each with an older copy of the program."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.db import connection
from django.test.utils import CaptureQueriesContext

from core.exceptions import ConflictError
from programs import services
from programs.models import Intent, Program, ProgramEvent, ProgramRevision
from programs.states import Action

from .api_rig import define, host, running

pytestmark = pytest.mark.django_db


def known(program: Program) -> Program:
    """A copy of its own, as another request would have."""
    return Program.objects.select_related("host").get(pk=program.pk)


def test_a_program_is_removed_and_its_removal_recorded_once() -> None:
    program = define()
    late = known(program)
    services.remove(program, actor="one")
    with pytest.raises(ConflictError, match="web is being removed"):
        services.remove(late, actor="two")
    assert ProgramEvent.objects.filter(type="program.removed").count() == 1


def test_a_removed_program_refuses_every_action() -> None:
    host()
    other, program = define("other"), define("web", stdin="console", instances_max=3)
    running(program)
    late = known(program)
    services.remove(program, actor="one")
    outcome = services.request_many([late, other], Action.START, actor="two")
    assert outcome == {program.pk: "web is being removed.", other.pk: None}
    for ask in (
        lambda: services.send_input(late, "x", actor="two"),
        lambda: services.scale(late, 2, actor="two"),
        lambda: services.save_definition({"tags": ["x"]}, program=late, actor="two"),
    ):
        with pytest.raises(ConflictError, match="web is being removed"):
            ask()
    assert not Intent.objects.filter(program=program).exists()


def test_a_deleted_program_refuses_every_action() -> None:
    program = define()
    late = known(program)
    Program.everything.filter(pk=program.pk).delete()
    with pytest.raises(ConflictError, match="web is being removed"):
        services.request(late, Action.START, actor="two")


def test_it_is_scaled_within_the_current_limits() -> None:
    program = define(instances_max=5)
    late = known(program)
    services.save_definition({"instances_max": 2}, program=program, actor="one")
    with pytest.raises(ValidationError, match="between 1 and 2"):
        services.scale(late, 5, actor="two")


def test_two_changes_of_different_fields_both_stay() -> None:
    program = define()
    late = known(program)
    services.save_definition({"description": "one"}, program=program, actor="one")
    services.save_definition({"tags": ["two"]}, program=late, actor="two")
    stored = known(program)
    assert (stored.description, stored.tags) == ("one", ["two"])
    assert ProgramRevision.objects.filter(program=program).order_by("-number")[0].changes.keys() == {"tags"}


@pytest.mark.parametrize(
    "ask",
    [
        lambda program: services.save_definition({"tags": ["x"]}, program=program, actor="x"),
        lambda program: services.request(program, Action.STOP, actor="x"),
        lambda program: services.scale(program, 2, actor="x"),
        lambda program: services.send_input(program, "x", actor="x"),
        lambda program: services.remove(program, actor="x"),
    ],
)
def test_each_action_advances_the_counter_first(ask: Callable[[Program], Any]) -> None:
    """Otherwise two of them deadlock on PostgreSQL: one holds the program and waits for the counter."""
    host()
    program = define(instances_max=3, stdin="console")
    running(program)
    with CaptureQueriesContext(connection) as captured:
        ask(known(program))
    statements = [query["sql"] for query in captured]
    begun = next(place for place, sql in enumerate(statements) if sql.startswith("SAVEPOINT"))
    assert statements[begun + 1].startswith('UPDATE "core_sequence"')
