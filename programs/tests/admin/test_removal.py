from __future__ import annotations

from typing import Any

from django.contrib.messages import get_messages
from django.test import Client

from core.exceptions import ConflictError
from programs import services
from programs.models import Program, ProgramEvent
from programs.states import State

from .conftest import LIST, MakeProgram


def test_deleting_asks_for_confirmation_and_leaves_the_rest_to_the_agent(
    admin: Client, program: MakeProgram
) -> None:
    web = program("web", State.RUNNING)
    page = admin.get(f"{LIST}{web.pk}/delete/")
    assert "web" in page.content.decode()
    assert Program.objects.exists()
    assert admin.post(f"{LIST}{web.pk}/delete/", {"post": "yes"}).status_code == 302
    assert not Program.objects.exists()
    assert Program.everything.get().removed_at is not None
    assert ProgramEvent.objects.filter(type="program.removed", actor="admin-person").exists()


def test_a_program_with_dependents_cannot_be_deleted(admin: Client, program: MakeProgram) -> None:
    db = program("db")
    program("web", depends_on=[{"program": "db"}])
    page = admin.get(f"{LIST}{db.pk}/delete/").content.decode()
    assert "web depends on db" in page
    assert 'name="post"' not in page
    admin.post(f"{LIST}{db.pk}/delete/", {"post": "yes"})
    assert Program.objects.count() == 2


def test_a_new_dependent_is_named_in_the_error(admin: Client, program: MakeProgram, monkeypatch: Any) -> None:
    db = program("db")

    def refuse(program: Program, *, actor: str) -> None:
        raise ConflictError("db is needed by web.")

    monkeypatch.setattr(services, "remove", refuse)
    answer = admin.post(f"{LIST}{db.pk}/delete/", {"post": "yes"})
    assert answer.headers["Location"] == f"{LIST}{db.pk}/change/"
    assert "db is needed by web." in [str(message) for message in get_messages(answer.wsgi_request)]


def test_programs_that_depend_on_each_other_can_be_deleted_together(admin: Client, program: MakeProgram) -> None:
    a, b, c = program("a"), program("b"), program("c")
    services.save_definition({"depends_on": [{"program": "a"}]}, program=b, actor="test")
    services.save_definition({"depends_on": [{"program": "b"}, {"program": "a"}]}, program=c, actor="test")
    form = {"action": "delete_selected", "_selected_action": [a.pk, b.pk, c.pk]}
    assert "a (is stopped first" in admin.post(LIST, form).content.decode()
    admin.post(LIST, {**form, "post": "yes"})
    assert not Program.objects.exists()


def test_an_operator_may_not_delete(operator: Client, program: MakeProgram) -> None:
    web = program("web")
    assert operator.post(f"{LIST}{web.pk}/delete/", {"post": "yes"}).status_code == 403
    operator.post(LIST, {"action": "delete_selected", "_selected_action": [web.pk], "post": "yes"})
    assert Program.objects.exists()
