from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from django.contrib.messages import get_messages
from django.test import Client

from core import secrets
from programs import services
from programs.definition.conversion import definition_json
from programs.definition.environment import environment_of
from programs.forms import ProgramForm
from programs.models import Program, ProgramRevision
from programs.states import State

from .conftest import LIST, MakeProgram
from .posting import filled, what_is_posted

ADD = LIST + "add/"


def errors(**changes: Any) -> dict[str, list[str]]:
    return {
        field: [str(message) for message in found]
        for field, found in ProgramForm(filled(**changes)).errors.items()
    }


def row_errors(field: str, **changes: Any) -> str:
    return str(ProgramForm(filled(**changes))[field])


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("changes", "field", "words"),
    [
        ({"command": '"unclosed'}, "command", "can't be split into words"),
        ({"command": "serve {instanc}"}, None, ""),
        ({"command": "serve {instance*2}"}, "command", "a placeholder"),
        ({"working_directory": "/no/such/folder"}, "working_directory", "no folder"),
        ({"working_directory": "srv"}, "working_directory", "absolute path"),
        ({"restart_cron": "61 * * * *"}, "restart_cron", "Not a cron expression"),
        ({"user": "nobody-here"}, "user", "no user"),
        ({"instances_min": "3"}, "instances_max", "below"),
        ({"tags": 'a"b'}, "tags", "1 to 50 characters"),
        ({"success_exit_codes": "0, x"}, "success_exit_codes", "a whole number"),
        ({"success_exit_codes": "700"}, "success_exit_codes", "between 0 and 255"),
        ({"log_max_bytes": "0.001"}, "log_max_bytes", "at least"),
        ({"log_max_bytes": ""}, "log_max_bytes", "required"),
        ({"umask": "9"}, "umask", "octal"),
        ({"name": ""}, "name", "required"),
        ({"name": "a/b"}, "name", "slash"),
        ({"max_restarts": "-1"}, "max_restarts", "greater than or equal"),
        ({"start_seconds": "nan"}, "start_seconds", "number"),
        ({"depends_on-0-program": "db", "depends_on-0-condition": "started"}, "depends_on", "no program db"),
        ({"host": "elsewhere"}, "host", "valid choice"),
    ],
)
def test_an_error_is_shown_at_its_field(changes: dict[str, Any], field: str | None, words: str) -> None:
    found = errors(**changes)
    assert set(found) == ({field} if field else set())
    assert words in str(found)


def test_a_duplicate_name_is_an_error_of_the_name(program: MakeProgram) -> None:
    program("web")
    assert errors() == {"name": ["There is already a program with this name."]}


def test_a_circular_dependency_is_shown_with_its_path(program: MakeProgram) -> None:
    db = program("db")
    program("web", depends_on=[{"program": "db"}])
    posted = filled(name="db", **{"depends_on-0-program": "web", "depends_on-0-condition": "healthy"})
    problem = "Circular dependency: db needs web needs db."
    assert ProgramForm(posted, instance=db).errors == {"depends_on": [problem]}


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"environment-0-name": "1X", "environment-0-value": "a"}, "a variable name"),
        ({"environment-0-name": "PROGRAM_MONITOR", "environment-0-value": "a"}, "reserved for the monitor"),
        ({"environment-0-name": "A", "environment-0-value": "", "environment-0-secret": "on"}, "needs a value"),
        ({"stop_ladder-0-argument": "BOOM"}, "a signal of this system"),
        ({"stop_ladder-0-seconds": "-5"}, "between 0 and 3600"),
        ({"stop_ladder-0-seconds": "soon"}, "Enter a number"),
        (
            {
                "probes-3-kind": "tcp",
                "probes-3-purpose": "liveness",
                "probes-3-target": "nowhere",
                "probes-3-period": "1",
                "probes-3-timeout": "1",
                "probes-3-failures": "3",
            },
            "an address",
        ),
        ({"probes-0-kind": "magic", "probes-0-target": "x"}, "valid choice"),
    ],
)
def test_an_error_in_a_row_is_shown_in_the_row(row: dict[str, Any], words: str) -> None:
    field = next(iter(row)).split("-")[0]
    assert errors(**row) == {field: ["Correct the marked rows."]}
    assert words in row_errors(field, **row)


@pytest.mark.django_db
def test_a_duplicate_variable_is_an_error_of_the_list() -> None:
    twice = {f"environment-{row}-{key}": "A" for row in (0, 1) for key in ("name", "value")}
    assert errors(**twice) == {"environment": ["A is listed twice."]}


@pytest.mark.django_db
def test_rows_come_in_the_order_of_their_numbers_and_empty_ones_are_left_out() -> None:
    rows = {f"environment-{row}-name": name for row, name in ((10, "LAST"), (2, "FIRST"), (5, ""))}
    form = ProgramForm(filled(**rows))
    assert form.is_valid()
    assert [entry["name"] for entry in form.values()["environment"]] == ["FIRST", "LAST"]


@pytest.mark.django_db
@pytest.mark.parametrize(
    "junk",
    [
        {"environment": "[1]", "environment-x-name": "A", "environment-1-": "", "environment-٣-name": "A"},
        {f"environment-{row}-name": f"A{row}" for row in range(501)},
        {"environment-0-name": "A\x00B", "environment-0-value": "\x00"},
        {"command": "sleep \x00 1"},
        {"max_memory_bytes": "1e400"},
        {"log_max_bytes": "-3"},
        {"instances_max": "99999"},
    ],
)
def test_malformed_rows_are_refused_without_a_crash(admin: Client, junk: dict[str, str]) -> None:
    answer = admin.post(ADD, filled(**junk))
    assert answer.status_code in (200, 302)
    assert Program.objects.count() <= 1


# --- Saving ---------------------------------------------------------------------------------------------


def test_saving_goes_through_the_service(admin: Client, tmp_path: Path) -> None:
    rows = {"environment-0-name": "TOKEN", "environment-0-value": "s3cret\r\nline", "environment-0-secret": "on"}
    answer = admin.post(
        ADD, filled(working_directory=str(tmp_path), tags="web prod", max_memory_bytes="1.5", **rows)
    )
    assert answer.status_code == 302
    made = Program.objects.get()
    assert (made.tags, made.max_memory_bytes, made.desired_state) == (["web", "prod"], 1_572_864, "running")
    assert environment_of(made) == {"TOKEN": "s3cret\nline"}
    assert ProgramRevision.objects.get().actor == "admin-person"


def test_an_untouched_form_changes_nothing(admin: Client, program: MakeProgram) -> None:
    web = program(
        "web",
        log_max_bytes=1_000_001,
        max_memory_bytes=123_456_789,
        tags=["b", "a"],
        success_exit_codes=[0, 143],
        environment=[{"name": "A", "value": "1\n2"}, {"name": "B", "value": "x", "secret": True}],
        probes=[{"kind": "log", "target": "ERR"}],
        stop_ladder=[{"step": "signal:INT", "seconds": 2.5}],
    )
    before = definition_json(web)
    form = ProgramForm(instance=web)
    assert admin.post(f"{LIST}{web.pk}/change/", what_is_posted(form)).status_code == 302
    again = Program.objects.get()
    assert definition_json(again) == before
    assert environment_of(again) == {"A": "1\n2", "B": "x"}
    assert again.revisions.count() == 1


def test_a_secret_is_never_sent_to_the_browser_and_kept_when_left_empty(
    admin: Client, program: MakeProgram
) -> None:
    web = program("web", environment=[{"name": "TOKEN", "value": "s3cret", "secret": True}])
    page = admin.get(f"{LIST}{web.pk}/change/").content.decode()
    assert "s3cret" not in page
    assert web.environment[0]["encrypted"] not in page
    kept = {
        "environment-0-name": "TOKEN",
        "environment-0-value": "",
        "environment-0-secret": "on",
        "environment-0-kept": "True",
    }
    admin.post(f"{LIST}{web.pk}/change/", filled(description="new", **kept))
    assert environment_of(Program.objects.get()) == {"TOKEN": "s3cret"}


def test_a_secret_is_not_shown_by_unticking_its_box(program: MakeProgram) -> None:
    web = program("web", environment=[{"name": "TOKEN", "value": "s3cret", "secret": True}])
    open_ = {"environment-0-name": "TOKEN", "environment-0-value": "", "environment-0-kept": "True"}
    assert "Enter the value again" in str(ProgramForm(filled(**open_), instance=web)["environment"])


def test_an_entered_secret_is_not_sent_back_with_an_error(admin: Client) -> None:
    typed = {"environment-0-name": "1BAD", "environment-0-value": "hunter2", "environment-0-secret": "on"}
    page = admin.post(ADD, filled(**typed)).content.decode()
    assert "a variable name" in page
    assert "hunter2" not in page


def test_a_new_value_replaces_a_secret(admin: Client, program: MakeProgram) -> None:
    web = program("web", environment=[{"name": "TOKEN", "value": "old", "secret": True}])
    new = {
        "environment-0-name": "TOKEN",
        "environment-0-value": "new",
        "environment-0-secret": "on",
        "environment-0-kept": "True",
    }
    admin.post(f"{LIST}{web.pk}/change/", filled(**new))
    stored = Program.objects.get().environment[0]["encrypted"]
    assert secrets.decrypt(stored) == "new"


def test_it_says_what_applies_now_and_offers_the_restart_for_the_rest(admin: Client, program: MakeProgram) -> None:
    web = program("web", State.RUNNING)
    answer = admin.post(f"{LIST}{web.pk}/change/", filled(command="sleep 61", description="new"))
    said = " ".join(str(message) for message in get_messages(answer.wsgi_request))
    assert "In effect now: Description." in said
    assert "In effect at the next restart: Command." in said
    assert f'formaction="{LIST}{web.pk}/restart/"' in said


def test_a_probable_mistake_is_saved_with_a_warning(admin: Client) -> None:
    answer = admin.post(ADD, filled(command="no-such-program | tee log"))
    said = " ".join(str(message) for message in get_messages(answer.wsgi_request))
    assert "Command: “no-such-program” was not found" in said
    assert "No shell runs" in said
    admin.get(LIST)  # shows the messages
    page = admin.get(f"{LIST}{Program.objects.get().pk}/change/").content.decode()
    assert '<span class="caution">“no-such-program” was not found' in page


def test_a_copy_has_everything_but_the_values_of_secrets(admin: Client, program: MakeProgram) -> None:
    web = program("web", tags=["prod"], environment=[{"name": "TOKEN", "value": "s3cret", "secret": True}])
    page = admin.get(f"{ADD}?copy={web.pk}").content.decode()
    assert 'value="web copy"' in page
    assert 'value="TOKEN"' in page
    assert "s3cret" not in page


@pytest.mark.parametrize(
    "query",
    ["copy=x", "copy=999", "copy=" + "9" * 40, "copy=" + "9" * 5000, "copy=-1", "name=a&command=b&environment=c"],
)
def test_nothing_else_is_taken_from_the_address(admin: Client, query: str) -> None:
    form = admin.get(f"{ADD}?{query}").context["adminform"].form
    assert (form["name"].value(), form["command"].value(), form["environment"].value()) == ("", "", [])


def test_only_an_administrator_may_define(operator: Client, viewer: Client, program: MakeProgram) -> None:
    web = program("web")
    for client in (operator, viewer):
        assert client.get(ADD).status_code == 403
        assert client.post(ADD, filled(name="new")).status_code == 403
        assert client.post(f"{LIST}{web.pk}/change/", filled(command="rm -rf /")).status_code == 403
    assert Program.objects.get().command == "sleep 60"


def test_a_concurrent_change_is_not_overwritten(admin: Client, program: MakeProgram) -> None:
    web = program("web")
    page = what_is_posted(ProgramForm(instance=web))
    services.save_definition({"command": "sleep 99"}, program=web, actor="alice")
    answer = admin.post(f"{LIST}{web.pk}/change/", {**page, "description": "mine"})
    assert "alice has changed this program meanwhile (version 2)" in answer.content.decode()
    assert (Program.objects.get().command, Program.objects.get().description) == ("sleep 99", "")


@pytest.mark.parametrize(("button", "place"), [("_continue", f"{LIST}{{}}/change/#settings"), ("_save", LIST)])
def test_continue_editing_stays_on_the_settings(
    admin: Client, program: MakeProgram, button: str, place: str
) -> None:
    web = program("web")
    answer = admin.post(f"{LIST}{web.pk}/change/", filled(**{button: "1"}))
    assert answer.headers["Location"] == place.format(web.pk)
