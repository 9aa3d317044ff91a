"""The audit rows of programs are the same through the API, the command line and the admin."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from core.exceptions import ConflictError
from core.masking import MASK
from core.models import AuditEntry
from programs import services
from programs.models import Dependency, Program
from programs.states import Action

from .api_rig import Api, define, host, person
from .program_command import program as command

pytestmark = pytest.mark.django_db
ENVIRONMENT = [
    {"name": "TOKEN", "value": "hush-one", "secret": True},
    {"name": "DB_PASSWORD", "value": "hush-two"},
    {"name": "LEVEL", "value": "3"},
]


def rows(**wanted: Any) -> list[tuple[str, str, str]]:
    found = AuditEntry.objects.filter(action__startswith="program.", **wanted).order_by("id")
    return list(found.values_list("action", "target", "outcome"))


def only(action: str) -> AuditEntry:
    return AuditEntry.objects.get(action=action)


def test_a_created_program_leaves_its_masked_definition() -> None:
    services.save_definition({"name": "web", "command": "serve", "environment": ENVIRONMENT}, actor="alice")
    row = only("program.created")
    assert (row.actor, row.target, row.data["definition"]["command"]) == ("alice", "web", "serve")
    assert [entry["value"] for entry in row.data["definition"]["environment"]] == [MASK, MASK, "3"]
    assert "hush" not in str(row.data)


def test_a_changed_program_leaves_the_masked_difference() -> None:
    program = define(command="old", environment=[{"name": "LEVEL", "value": "3"}])
    change = {"command": "serve https://me:hush@host/", "environment": ENVIRONMENT}
    services.save_definition(change, program=program, actor="alice")
    changes = only("program.updated").data["changes"]
    assert set(changes) == {"command", "environment"}
    assert changes["command"] == ["old", f"serve https://me:{MASK}@host/"]
    assert "hush" not in str(changes)


def test_nothing_is_recorded_when_nothing_changes_or_in_a_dry_run() -> None:
    program = define()
    services.save_definition({"command": program.command}, program=program, actor="alice")
    services.save_definition({"command": "other"}, program=program, actor="alice", dry_run=True)
    assert rows() == [("program.created", "web", "done")]


def test_a_removed_program_leaves_its_last_masked_definition() -> None:
    program = define(environment=ENVIRONMENT, tags=["shop"])
    services.remove(program, actor="alice")
    Program.everything.filter(pk=program.pk).delete()
    row = only("program.removed")
    assert (row.data["id"], row.data["definition"]["tags"]) == (program.pk, ["shop"])
    assert "hush" not in str(row.data)


def test_actions_and_their_refusals_are_recorded() -> None:
    host()
    program, other = define(), define("db")
    AuditEntry.objects.all().expire()
    services.request(program, Action.START, actor="alice")
    services.remove(other, actor="alice")
    services.request_many([program, other], Action.STOP, actor="bob")
    assert rows(actor="alice") == [("program.start", "web", "done"), ("program.removed", "db", "done")]
    assert rows(actor="bob") == [("program.stop", "web", "done"), ("program.stop", "db", "refused")]
    assert AuditEntry.objects.get(outcome="refused").data["reason"] == "db is being removed."


def test_a_refused_removal_is_recorded() -> None:
    needed, program = define("db"), define()
    Dependency.objects.create(program=program, requires=needed)
    with pytest.raises(ConflictError):
        services.remove(needed, actor="alice")
    assert rows(actor="alice") == [("program.removed", "db", "refused")]
    assert Program.objects.filter(pk=needed.pk).exists()


def test_api_command_line_and_admin_record_the_same_actions() -> None:
    host()
    api, browser = Api(), Client()
    browser.force_login(person())
    program = define()
    AuditEntry.objects.all().expire()
    assert api("POST", f"/programs/{program.pk}/start")[0] in (200, 202)
    assert command("start", "web", "--no-wait").code == 0
    browser.post(
        "/admin/programs/program/", {"action": "start_selected", "_selected_action": [program.pk]}, follow=True
    )
    assert rows() == [("program.start", "web", "done")] * 3
    addresses = AuditEntry.objects.order_by("id").values_list("address", flat=True)
    assert list(addresses) == ["127.0.0.1", None, "127.0.0.1"]


def test_the_admin_records_a_removal_once() -> None:
    browser, program = Client(), define()
    browser.force_login(person())
    browser.post(f"/admin/programs/program/{program.pk}/delete/", {"post": "yes"})
    assert rows() == [("program.created", "web", "done"), ("program.removed", "web", "done")]
