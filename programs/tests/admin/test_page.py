from __future__ import annotations

import html
import re
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from core.models import Sequence
from programs import services
from programs.models import Process
from programs.states import State

from .conftest import LIST, MakeProgram


def page(client: Client, pk: int, name: str = "change", **query: Any) -> str:
    answer = client.get(f"{LIST}{pk}/{name}/", query)
    assert answer.status_code == 200
    return answer.content.decode()


def test_it_shows_status_processes_and_exit(admin: Client, program: MakeProgram) -> None:
    web = program("web", State.FATAL, reason="gave up", exit_signal="SIGSEGV", restarts=7)
    text = page(admin, web.pk)
    for wanted in ('data-state="fatal"', "gave up", "ended by SIGSEGV", "program.created", 'data-live="uptime"'):
        assert wanted in text


def test_the_number_of_queries_does_not_depend_on_the_number_of_processes(
    admin: Client, program: MakeProgram
) -> None:
    web = program("web", State.RUNNING, instances_max=50)
    page(admin, web.pk)
    with CaptureQueriesContext(connection) as one:
        page(admin, web.pk)
    for index in range(1, 50):
        Process.objects.create(program=web, index=index, state="running", revision=Sequence.advance())
    with CaptureQueriesContext(connection) as many:
        page(admin, web.pk)
    assert len(one) == len(many) <= 25


@pytest.mark.parametrize(("stdin", "has_console"), [("console", True), ("null", False)])
def test_only_programs_with_a_console_show_it(
    operator: Client, viewer: Client, program: MakeProgram, stdin: str, has_console: bool
) -> None:
    web = program("web", State.RUNNING, stdin=stdin)
    assert ("data-console" in page(operator, web.pk)) is has_console
    assert "data-console" not in page(viewer, web.pk)


def test_changes_pending_a_restart_are_listed(operator: Client, program: MakeProgram) -> None:
    web = program("web", State.RUNNING)
    services.save_definition({"command": "sleep 61", "tags": ["x"]}, program=web, actor="test")
    assert "Changed since the last start: Command." in page(operator, web.pk)
    Process.objects.update(definition_number=2)
    assert "next restart" not in page(operator, web.pk)


def test_a_viewer_sees_no_secrets_and_no_buttons(viewer: Client, program: MakeProgram) -> None:
    hidden = [{"name": "TOKEN", "value": "s3cret", "secret": True}, {"name": "MODE", "value": "prod"}]
    web = program("web", State.RUNNING, environment=hidden, probes=[{"kind": "tcp", "target": "127.0.0.1:1"}])
    text = page(viewer, web.pk)
    for wanted in ("sleep 60", "MODE=prod", "TOKEN=••••••", "liveness: tcp 127.0.0.1:1", "50 MB"):
        assert wanted in text
    stored = web.environment[0]["encrypted"]
    for forbidden in ("s3cret", stored, "data-verb=", 'name="_save"', "/delete/", "?copy="):
        assert forbidden not in text


def test_the_history_shows_who_changed_what(viewer: Client, program: MakeProgram) -> None:
    web = program("web", environment=[{"name": "TOKEN", "value": "s3cret", "secret": True}])
    changes: dict[str, Any] = {"command": "sleep <61>", "autostart": False, "depends_on": []}
    changes["environment"] = [{"name": "TOKEN", "value": "n3wer", "secret": True}]
    services.save_definition(changes, program=web, actor="alice")
    text = page(viewer, web.pk, "history")
    for wanted in (
        "alice",
        "sleep 60",
        "sleep &lt;61&gt;",
        "Version 2",
        "at the next restart",
        "immediately",
        "••••••",
    ):
        assert wanted in text
    assert "s3cret" not in text
    assert "n3wer" not in text


@pytest.mark.parametrize("name", ["change", "history", "activity"])
def test_an_account_that_has_lost_its_role_sees_nothing(program: MakeProgram, name: str) -> None:
    """The account can still enter the admin site, but its group has lost the permission."""
    web = program("web")
    client = Client()
    client.force_login(User.objects.create_user("former", is_staff=True))
    assert client.get(f"{LIST}{web.pk}/{name}/").status_code == 403


def test_the_history_is_paginated(admin: Client, program: MakeProgram) -> None:
    web = program("web")
    for number in range(30):
        services.save_definition({"description": f"text {number}"}, program=web, actor="test")
    first, second = page(admin, web.pk, "history"), page(admin, web.pk, "history", page=2)
    assert "Version 31" in first
    assert "Created." not in first
    assert "Created." in second


def test_the_activity_can_be_fetched_separately(viewer: Client, program: MakeProgram) -> None:
    web = program("web")
    text = page(viewer, web.pk, "activity")
    assert "program.created" in text
    assert "<html" not in text


@pytest.mark.parametrize("name", ["change", "history", "activity"])
def test_a_removed_program_has_no_page(admin: Client, program: MakeProgram, name: str) -> None:
    web = program("web")
    services.remove(web, actor="test")
    assert admin.get(f"{LIST}{web.pk}/{name}/").status_code in (302, 404)
    assert admin.get(f"{LIST}{10**30}/{name}/").status_code in (302, 404)


@pytest.mark.parametrize("name", ["change", "history", "activity"])
def test_an_anonymous_user_is_sent_to_the_login(client: Client, program: MakeProgram, name: str) -> None:
    answer = client.get(f"{LIST}{program().pk}/{name}/")
    assert answer.headers["Location"].startswith("/admin/login/")


def crumbs(text: str) -> list[str]:
    """The breadcrumbs of a page."""
    found = re.findall(
        r'<(?:a href="[^"]*"|span)\s+class="[^"]*align-middle[^"]*tracking-tight"\s*>([^<]+)</', text
    )
    return [html.unescape(each).strip() for each in found]


def test_the_breadcrumbs_name_the_program_and_no_section_twice(admin: Client, program: MakeProgram) -> None:
    redis = program("redis")
    assert crumbs(page(admin, redis.pk)) == ["Programs", "redis"]
    assert crumbs(admin.get(LIST).content.decode()) == ["Programs"]
    assert crumbs(admin.get("/admin/programs/incident/").content.decode()) == ["Programs", "Incidents"]
