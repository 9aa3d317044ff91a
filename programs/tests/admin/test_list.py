from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from programs.models import Host
from programs.states import State

from .conftest import LIST, MakeProgram


def names(client: Client, query: str = "") -> list[str]:
    return [row.name for row in client.get(LIST + query).context["cl"].result_list]


def test_the_number_of_queries_does_not_depend_on_the_number_of_programs(
    admin: Client, program: MakeProgram
) -> None:
    for number in range(5):
        program(f"p{number}", State.RUNNING, tags=["a"])
    admin.get(LIST)
    with CaptureQueriesContext(
        connection,
    ) as few:
        admin.get(LIST)
    for number in range(5, 100):
        program(f"p{number}", State.RUNNING, tags=["a"])
    with CaptureQueriesContext(connection) as many:
        page = admin.get(LIST)
    assert len(page.context["cl"].result_list) == 100
    assert len(few) == len(many) <= 15


def test_a_row_shows_the_status_and_the_reason_of_a_problem(admin: Client, program: MakeProgram) -> None:
    program(
        "web", State.RUNNING, cpu_percent=12.34, memory_bytes=1536 * 1024, restarts=3, description="<b>shop</b>"
    )
    program("mailer", State.FATAL, reason="gave up after <10> restarts")
    text = admin.get(LIST).content.decode()
    for wanted in ("12.3 %", "1.5 MB", "&lt;b&gt;shop&lt;/b&gt;", "gave up after &lt;10&gt; restarts"):
        assert wanted in text
    assert 'data-state="fatal"' in text


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("?state=running", ["web"]),
        ("?state=stopped", ["idle", "never-run"]),
        ("?state=unknown", []),
        ("?state=nonsense", ["idle", "never-run", "web"]),
        ("?tag=café", ["web"]),
        ("?tag=caf", []),
        ("?host=testhost", ["idle", "never-run", "web"]),
        ("?host=far", []),
        ("?host=%27", []),
        ("?q=CAFÉ", ["web"]),
        ("?q=shop", ["web"]),
        ("?q=%22%5C'", []),
        ("?restart_policy__exact=never", ["idle"]),
    ],
)
def test_filters_and_search_find(admin: Client, program: MakeProgram, query: str, found: list[str]) -> None:
    program("web", State.RUNNING, tags=["café", "prod"], description="The shop")
    program("idle", State.STOPPED, restart_policy="never")
    program("never-run").processes.all().delete()
    assert names(admin, query) == found


def test_programs_of_a_lost_agent_are_unknown(admin: Client, program: MakeProgram, host: Host) -> None:
    program("web", State.RUNNING)
    Host.objects.update(heartbeat_at=timezone.now() - timedelta(minutes=5))
    assert names(admin, "?state=unknown") == ["web"]
    assert names(admin, "?state=running") == []
    text = admin.get(LIST).content.decode()
    assert 'data-state="unknown"' in text
    assert "the agent of testhost sends no heartbeat" in text


def test_it_sorts_by_what_the_processes_use(admin: Client, program: MakeProgram) -> None:
    program("little", State.RUNNING, cpu_percent=1.0, memory_bytes=9)
    program("much", State.RUNNING, cpu_percent=90.0, memory_bytes=5)
    assert names(admin, "?o=3") == ["much", "little"]
    assert names(admin, "?o=4") == ["little", "much"]


def test_it_counts_programs_by_state(admin: Client, program: MakeProgram) -> None:
    for name, state in (("a", State.RUNNING), ("b", State.RUNNING), ("c", State.FATAL)):
        program(name, state)
    counts: Any = dict(admin.get(LIST).context["cl"].state_counts)
    assert (counts[State.RUNNING], counts[State.FATAL], counts[State.STOPPED]) == (2, 1, 0)


def test_a_viewer_sees_no_buttons(viewer: Client, program: MakeProgram) -> None:
    program("web", State.RUNNING)
    text = viewer.get(LIST).content.decode()
    assert "web" in text
    for forbidden in ("data-verb=", "_selected_action", "/add/", "/adopt/"):
        assert forbidden not in text


def test_an_operator_sees_buttons_but_cannot_add_programs(operator: Client, program: MakeProgram) -> None:
    program("web", State.RUNNING)
    text = operator.get(LIST).content.decode()
    assert "/stop/" in text
    assert "/add/" not in text
    assert "delete_selected" not in text


def test_impossible_actions_are_disabled(operator: Client, program: MakeProgram) -> None:
    web = program("web", State.RUNNING)
    page = operator.get(LIST).content.decode()
    start = page.split(f'formaction="{LIST}{web.pk}/start/"')[1].split(">")[0]
    stop = page.split(f'formaction="{LIST}{web.pk}/stop/"')[1].split(">")[0]
    assert "disabled" in start
    assert "disabled" not in stop


def test_an_empty_list_explains_how_to_start(admin: Client, viewer: Client, host: Host) -> None:
    assert f'href="{LIST}adopt/"' in admin.get(LIST).content.decode().split("No programs yet")[1]
    assert "An administrator can add the first program." in viewer.get(LIST).content.decode()
