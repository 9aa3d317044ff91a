from __future__ import annotations

from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.db import connection, transaction
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from core.access import Role, set_role
from programs import events, hosts, services
from programs.models import Host, Incident, Process
from programs.states import State


@pytest.fixture
def viewer(db: None) -> Client:
    user = User.objects.create_user("vera")
    set_role(user, Role.READ)
    client = Client()
    client.force_login(user)
    return client


def make(name: str, state: State, **fields: str) -> None:
    Host.objects.filter(pk=hosts.this_host().pk).update(heartbeat_at=timezone.now())
    program = services.save_definition({"name": name, "command": "sleep 1"}, actor="test").program
    Process.objects.create(program=program, index=0, state=state, **fields)
    with transaction.atomic():
        event = events.record("program.crashed", program=program)
    Incident.objects.create(
        event=event,
        program=program,
        program_name=name,
        process_index=0,
        timestamp=event.timestamp,
        meaning="killed",
    )


def test_the_overview_lists_programs_and_hosts_that_need_attention(viewer: Client) -> None:
    make("web", State.RUNNING)
    make("backup", State.EXITED, reason="exit code 0")
    make("mailer", State.FATAL, reason="gave <up>")
    Host.objects.create(name="far", heartbeat_at=timezone.now() - timedelta(hours=1))
    page = viewer.get("/admin/")
    assert [shown["name"] for shown, _badge, _word in page.context["attention"]] == ["mailer"]
    text = page.content.decode()
    for wanted in ("gave &lt;up&gt;", "far", "no heartbeat from the agent", "<b>mailer</b>"):
        assert wanted in text


def test_the_overview_takes_a_constant_number_of_queries(viewer: Client) -> None:
    make("p0", State.FATAL)
    viewer.get("/admin/")
    with CaptureQueriesContext(connection) as few:
        viewer.get("/admin/")
    for number in range(1, 20):
        make(f"p{number}", State.FATAL)
    with CaptureQueriesContext(connection) as many:
        viewer.get("/admin/")
    assert len(few) == len(many) <= 12


def test_a_user_without_a_role_sees_no_programs(db: None) -> None:
    make("web", State.FATAL)
    client = Client()
    client.force_login(User.objects.create_user("nobody", is_staff=True))
    page = client.get("/admin/")
    assert "web" not in page.content.decode().replace("/ws/", "")
    assert "state_counts" not in page.context


def test_the_badge_counts_fatal_programs(viewer: Client) -> None:
    for name in ("a", "b"):
        make(name, State.FATAL)
    make("c", State.RUNNING)
    assert viewer.get("/admin/").context["sidebar_navigation"][0]["items"][1]["badge"] == "2"
