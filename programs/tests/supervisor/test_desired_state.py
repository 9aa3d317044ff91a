"""What the agent reads from the database, once a second."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.exceptions import ValidationError

from programs import services
from programs.hosts import this_host
from programs.models import Host, Process, Program
from programs.states import Action
from programs.supervisor import desired_state
from programs.tests.actors import ask, define

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def connection_of_the_test(monkeypatch: pytest.MonkeyPatch) -> None:
    """The agent's reader thread looks whether its connection is too old; here it is the test's own."""
    monkeypatch.setattr(desired_state, "close_old_connections", lambda: None)


def test_when_nothing_is_new_one_statement_says_so(django_assert_num_queries: Any) -> None:
    define("web", "sleep 60", autostart=False)
    host = this_host()
    seen = desired_state.read(host, -1)
    with django_assert_num_queries(1):
        again = desired_state.read(host, seen.revision)
    assert (again.programs, again.intents, again.dependencies) == ([], [], None)


def test_an_action_comes_with_the_desired_state_it_was_saved_with() -> None:
    web = define("web", "sleep 60", autostart=False)
    host = this_host()
    seen = desired_state.read(host, -1)
    ask(web, Action.START)
    found = desired_state.read(host, seen.revision)
    assert [(p.name, p.desired_state) for p in found.programs] == [("web", "running")]
    assert [intent.verb for intent in found.intents] == ["start"]


def test_a_changed_definition_is_read_once_and_all_dependencies_with_it() -> None:
    db = define("db", "sleep 60", autostart=False)
    web = define("web", "sleep 60", autostart=False)
    host = this_host()
    seen = desired_state.read(host, -1)
    services.save_definition(
        {"depends_on": [{"program": "db", "condition": "started"}]}, actor="tester", program=web
    )
    found = desired_state.read(host, seen.revision)
    assert [program.pk for program in found.programs] == [web.pk]
    assert found.dependencies == {web.pk: [(db.pk, "started")]}
    assert desired_state.read(host, found.revision).programs == []


def test_an_action_for_another_host_is_left_to_its_agent() -> None:
    here, there = this_host(), Host.objects.create(name="elsewhere")
    web = define("web", "sleep 60", autostart=False, host="elsewhere")
    seen = desired_state.read(here, -1)
    ask(web, Action.START)
    assert desired_state.read(here, seen.revision).intents == []
    assert [intent.verb for intent in desired_state.read(there, seen.revision).intents] == ["start"]


def test_a_form_opened_before_a_stop_does_not_undo_it() -> None:
    web = define("web", "sleep 60")
    opened = Program.objects.get(pk=web.pk)
    ask(web, Action.STOP)
    services.save_definition({"description": "the shop"}, actor="bob", program=opened)
    assert Program.objects.get(pk=web.pk).desired_state == "stopped"


def test_a_running_program_moves_to_no_other_host() -> None:
    Host.objects.create(name="elsewhere")
    web = define("web", "sleep 60", autostart=False)
    Process.objects.create(program=web, index=0, state="running")
    with pytest.raises(ValidationError, match="Stop it first"):
        services.save_definition({"host": "elsewhere"}, actor="bob", program=Program.objects.get(pk=web.pk))
    Process.objects.update(state="stopped")
    saved = services.save_definition({"host": "elsewhere"}, actor="bob", program=Program.objects.get(pk=web.pk))
    assert saved.program.host is not None
