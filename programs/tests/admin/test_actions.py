from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.messages import get_messages
from django.test import Client

from core.access import Role
from programs.models import Intent, Program
from programs.states import State

from .conftest import LIST, MakeProgram


def said(response: Any) -> str:
    return " ".join(str(message) for message in get_messages(response.wsgi_request))


def asked_for() -> list[tuple[str, str]]:
    return list(Intent.objects.order_by("id").values_list("program__name", "verb"))


@pytest.mark.parametrize("verb", ["start", "stop", "restart", "kill"])
def test_a_link_only_asks(operator: Client, program: MakeProgram, verb: str) -> None:
    web = program("web", State.BACKOFF)
    page = operator.get(f"{LIST}{web.pk}/{verb}/")
    assert (page.status_code, asked_for()) == (200, [])
    assert '<form method="post"' in page.content.decode()


def test_a_post_asks_the_agent_and_leads_back(operator: Client, program: MakeProgram) -> None:
    web = program("web", State.RUNNING)
    answer = operator.post(f"{LIST}{web.pk}/stop/", {"next": LIST + "?state=running"})
    assert (answer.status_code, answer.headers["Location"]) == (302, LIST + "?state=running")
    assert asked_for() == [("web", "stop")]
    assert Intent.objects.get().actor == "operate-person"
    assert "Stop of web requested." in said(answer)


@pytest.mark.parametrize("elsewhere", ["https://evil.example/", "//evil.example/", "javascript:alert(1)"])
def test_it_never_leads_to_another_site(operator: Client, program: MakeProgram, elsewhere: str) -> None:
    web = program("web", State.RUNNING)
    answer = operator.post(f"{LIST}{web.pk}/stop/", {"next": elsewhere}, HTTP_REFERER=elsewhere)
    assert answer.headers["Location"] == f"{LIST}{web.pk}/change/"


def test_an_impossible_verb_is_answered_with_the_reason(operator: Client, program: MakeProgram) -> None:
    web = program("web", State.STOPPED)
    answer = operator.post(f"{LIST}{web.pk}/stop/")
    assert "web cannot stop: it is stopped." in said(answer)
    answer = operator.post(f"{LIST}{web.pk}/stop/", HTTP_ACCEPT="application/json")
    assert (answer.status_code, answer.json()) == (409, {"message": "web cannot stop: it is stopped."})


def test_no_post_passes_without_the_csrf_token(visitor: Callable[..., Client], program: MakeProgram) -> None:
    web = program("web", State.RUNNING)
    client = visitor(Role.ADMIN, enforce_csrf_checks=True)
    for address in (f"{LIST}{web.pk}/stop/", f"{LIST}{web.pk}/scale/", LIST, f"{LIST}{web.pk}/delete/"):
        assert client.post(address, {"action": "stop_selected", "_selected_action": web.pk}).status_code == 403
    assert asked_for() == []


@pytest.mark.parametrize("verb", ["start", "stop", "restart", "kill", "scale"])
def test_a_viewer_may_not(viewer: Client, program: MakeProgram, verb: str) -> None:
    web = program("web", State.RUNNING)
    assert viewer.get(f"{LIST}{web.pk}/{verb}/").status_code == 403
    assert viewer.post(f"{LIST}{web.pk}/{verb}/", {"instances": 1}).status_code == 403
    viewer.post(LIST, {"action": f"{verb}_selected", "_selected_action": web.pk, "confirmed": "yes"})
    assert asked_for() == []


def test_a_stranger_is_sent_to_log_in(client: Client, program: MakeProgram) -> None:
    answer = client.post(f"{LIST}{program().pk}/stop/")
    assert answer.headers["Location"].startswith("/admin/login/")


def test_a_program_that_is_gone_is_not_found(operator: Client, program: MakeProgram) -> None:
    assert operator.post(f"{LIST}{program().pk + 1}/start/").status_code == 404


def test_many_at_once_are_counted_and_refusals_explained(operator: Client, program: MakeProgram) -> None:
    up, down, gone = program("up", State.RUNNING), program("down"), program("gone")
    chosen = [each.pk for each in (up, down, gone)]
    answer = operator.post(LIST, {"action": "stop_selected", "_selected_action": chosen})
    assert asked_for() == [("up", "stop")]
    text = said(answer)
    assert "Stop requested for 1 program. 2 refused:" in text
    assert "down cannot stop: it is stopped." in text


def test_killing_many_asks_first(operator: Client, program: MakeProgram) -> None:
    chosen = [program(name, State.RUNNING).pk for name in ("a", "b")]
    form = {"action": "kill_selected", "_selected_action": chosen}
    page = operator.post(LIST, form)
    assert (page.status_code, asked_for()) == (200, [])
    operator.post(LIST, {**form, "confirmed": "yes"})
    assert asked_for() == [("a", "kill"), ("b", "kill")]


def test_scaling_keeps_to_the_limits_of_the_definition(operator: Client, program: MakeProgram) -> None:
    web = program("web", State.RUNNING, instances_max=3)
    said_so = said(operator.post(f"{LIST}{web.pk}/scale/", {"instances": "3"}))
    assert Program.objects.get().desired_instances == 3
    assert "3 instances" in said_so
    for wrong, why in (("9", "between 1 and 3"), ("many", "whole number"), ("", "whole number")):
        assert why in said(operator.post(f"{LIST}{web.pk}/scale/", {"instances": wrong}))
    assert Program.objects.get().desired_instances == 3
