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


def messages_of(response: Any) -> str:
    return " ".join(str(message) for message in get_messages(response.wsgi_request))


def requested() -> list[tuple[str, str]]:
    return list(Intent.objects.order_by("id").values_list("program__name", "verb"))


@pytest.mark.parametrize("verb", ["start", "stop", "restart", "kill"])
def test_a_get_only_shows_a_confirmation(operator: Client, program: MakeProgram, verb: str) -> None:
    web = program("web", State.BACKOFF)
    page = operator.get(f"{LIST}{web.pk}/{verb}/")
    assert (page.status_code, requested()) == (200, [])
    assert '<form method="post"' in page.content.decode()


def test_a_post_requests_the_action_and_redirects_back(operator: Client, program: MakeProgram) -> None:
    web = program("web", State.RUNNING)
    answer = operator.post(f"{LIST}{web.pk}/stop/", {"next": LIST + "?state=running"})
    assert (answer.status_code, answer.headers["Location"]) == (302, LIST + "?state=running")
    assert requested() == [("web", "stop")]
    assert Intent.objects.get().actor == "operate-person"
    assert "Stop of web requested." in messages_of(answer)


@pytest.mark.parametrize("elsewhere", ["https://evil.example/", "//evil.example/", "javascript:alert(1)"])
def test_it_never_redirects_to_another_site(operator: Client, program: MakeProgram, elsewhere: str) -> None:
    web = program("web", State.RUNNING)
    answer = operator.post(f"{LIST}{web.pk}/stop/", {"next": elsewhere}, HTTP_REFERER=elsewhere)
    assert answer.headers["Location"] == f"{LIST}{web.pk}/change/"


def test_an_impossible_action_is_refused_with_the_reason(operator: Client, program: MakeProgram) -> None:
    web = program("web", State.STOPPED)
    answer = operator.post(f"{LIST}{web.pk}/stop/")
    assert "web cannot stop: it is stopped." in messages_of(answer)
    answer = operator.post(f"{LIST}{web.pk}/stop/", HTTP_ACCEPT="application/json")
    assert (answer.status_code, answer.json()) == (409, {"message": "web cannot stop: it is stopped."})


def test_a_post_without_csrf_token_is_refused(visitor: Callable[..., Client], program: MakeProgram) -> None:
    web = program("web", State.RUNNING)
    client = visitor(Role.ADMIN, enforce_csrf_checks=True)
    for address in (f"{LIST}{web.pk}/stop/", f"{LIST}{web.pk}/scale/", LIST, f"{LIST}{web.pk}/delete/"):
        assert client.post(address, {"action": "stop_selected", "_selected_action": web.pk}).status_code == 403
    assert requested() == []


@pytest.mark.parametrize("verb", ["start", "stop", "restart", "kill", "scale"])
def test_a_viewer_cannot_act(viewer: Client, program: MakeProgram, verb: str) -> None:
    web = program("web", State.RUNNING)
    assert viewer.get(f"{LIST}{web.pk}/{verb}/").status_code == 403
    assert viewer.post(f"{LIST}{web.pk}/{verb}/", {"instances": 1}).status_code == 403
    viewer.post(LIST, {"action": f"{verb}_selected", "_selected_action": web.pk, "confirmed": "yes"})
    assert requested() == []


def test_an_anonymous_user_is_sent_to_the_login(client: Client, program: MakeProgram) -> None:
    answer = client.post(f"{LIST}{program().pk}/stop/")
    assert answer.headers["Location"].startswith("/admin/login/")


def test_a_removed_program_is_not_found(operator: Client, program: MakeProgram) -> None:
    assert operator.post(f"{LIST}{program().pk + 1}/start/").status_code == 404


def test_bulk_actions_report_counts_and_reasons(operator: Client, program: MakeProgram) -> None:
    up, down, gone = program("up", State.RUNNING), program("down"), program("gone")
    chosen = [each.pk for each in (up, down, gone)]
    answer = operator.post(LIST, {"action": "stop_selected", "_selected_action": chosen})
    assert requested() == [("up", "stop")]
    text = messages_of(answer)
    assert "Stop requested for 1 program. 2 refused:" in text
    assert "down cannot stop: it is stopped." in text


def test_bulk_kill_asks_for_confirmation(operator: Client, program: MakeProgram) -> None:
    chosen = [program(name, State.RUNNING).pk for name in ("a", "b")]
    form = {"action": "kill_selected", "_selected_action": chosen}
    page = operator.post(LIST, form)
    assert (page.status_code, requested()) == (200, [])
    operator.post(LIST, {**form, "confirmed": "yes"})
    assert requested() == [("a", "kill"), ("b", "kill")]


def test_scaling_respects_the_limits_of_the_definition(operator: Client, program: MakeProgram) -> None:
    web = program("web", State.RUNNING, instances_max=3)
    text = messages_of(operator.post(f"{LIST}{web.pk}/scale/", {"instances": "3"}))
    assert Program.objects.get().desired_instances == 3
    assert "3 instances" in text
    for wrong, why in (("9", "between 1 and 3"), ("many", "whole number"), ("", "whole number")):
        assert why in messages_of(operator.post(f"{LIST}{web.pk}/scale/", {"instances": wrong}))
    assert Program.objects.get().desired_instances == 3
