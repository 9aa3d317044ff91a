from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.test import AsyncClient
from django.utils import timezone

from core import doorbell
from core.access import Role
from programs.models import Intent, Process, Program, ProgramEvent
from programs.services import remove, request
from programs.states import Action

from .api_rig import Api, define, host, running, token, write


@pytest.fixture(autouse=True)
def own_bell(tmp_path: Path, settings: Any) -> None:
    settings.RUN_DIR = tmp_path


@pytest.fixture
def api(db: None) -> Api:
    host()
    return Api(Role.OPERATE)


# --- Without waiting ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("state", "verb", "desired"),
    [
        ("stopped", "start", "running"),
        ("running", "stop", "stopped"),
        ("running", "restart", "running"),
        ("running", "kill", "stopped"),
    ],
)
def test_an_action_leaves_an_intent_for_the_agent(api: Api, state: str, verb: str, desired: str) -> None:
    program = define(autostart=state == "running")
    write(program, state=state)
    status, body = api("POST", f"/programs/{program.pk}/{verb}")
    intent = Intent.objects.get()
    assert (status, body["state"], body["desired_state"]) == (202, state, desired)
    assert (intent.verb, intent.program_id) == (verb, program.pk)
    assert intent.actor.endswith("(token test)")


@pytest.mark.parametrize(("state", "verb"), [("running", "start"), ("stopped", "stop"), ("stopped", "kill")])
def test_an_impossible_action_is_a_conflict(api: Api, state: str, verb: str) -> None:
    program = define(autostart=state == "running")
    write(program, state=state)
    status, body = api("POST", f"/programs/{program.pk}/{verb}?wait=5")
    assert (status, body["detail"]) == (409, f"web cannot {verb}: it is {state}.")
    assert not Intent.objects.exists()


@pytest.mark.parametrize("wait", ["-1", "61", "x", "nan", "inf", ""])
def test_waiting_has_bounds(api: Api, wait: str) -> None:
    status, body = api("POST", f"/programs/{define().pk}/stop?wait={wait}")
    assert (status, body["errors"][0]["field"]) == (422, "wait")


def test_an_action_for_an_unknown_program_is_404(api: Api) -> None:
    assert api("POST", "/programs/99/start?wait=1")[0] == 404


# --- Waiting --------------------------------------------------------------------------------------------

waiting = pytest.mark.django_db(transaction=True)


async def post(path: str, clear: str, client: AsyncClient | None = None) -> Any:
    return await (client or AsyncClient()).generic("POST", path, headers={"Authorization": f"Bearer {clear}"})


async def while_waiting(verb: str, program: Program, *steps: Callable[[], Any], wait: float = 10) -> Any:
    """(status, body, seconds) of a waiting call, while an agent would do the steps."""
    clear = await sync_to_async(token)(Role.OPERATE)
    began = time.monotonic()
    call = asyncio.create_task(post(f"/api/programs/{program.pk}/{verb}?wait={wait}", clear))
    while not call.done() and not await Intent.objects.filter(verb=verb).aexists():
        await asyncio.sleep(0.01)
    for step in steps:
        await sync_to_async(step)()
        doorbell.ring("web")
        await asyncio.sleep(0.1)
    answer = await call
    return answer.status_code, answer.json(), time.monotonic() - began


@sync_to_async
def stopped_program(**fields: Any) -> Program:
    host()
    program = define(autostart=False, **fields)
    write(program, state="stopped")
    return program


@sync_to_async
def running_program(**fields: Any) -> Program:
    host()
    program = define(**fields)
    for index in range(fields.get("instances_min", 1)):
        running(program, index, pid=100 + index)
    return program


@waiting
async def test_a_start_is_answered_once_the_program_runs() -> None:
    program = await stopped_program()
    starting = lambda: write(program, state="starting", pid=5)  # noqa: E731
    status, body, seconds = await while_waiting("start", program, starting, lambda: running(program, pid=5))
    assert (status, body["state"], body["pid"]) == (200, "running", 5)
    assert seconds < 3


@waiting
async def test_a_start_waits_for_every_instance() -> None:
    program = await stopped_program(instances_min=2, instances_max=2)
    one = lambda: running(program, 0, pid=5)  # noqa: E731
    status, body, _ = await while_waiting("start", program, one, wait=0.5)
    assert (status, body["instances"]) == (202, {"running": 1, "desired": 2})


@waiting
async def test_a_program_that_finishes_has_been_started() -> None:
    program = await stopped_program()
    ended = lambda: write(program, state="exited", started_at=timezone.now(), exit_code=0)  # noqa: E731
    status, body, _ = await while_waiting("start", program, ended)
    assert (status, body["state"], body["exit_code"]) == (200, "exited", 0)


@waiting
@pytest.mark.parametrize(("codes", "status"), [([0], 202), ([0, 1], 200)])
async def test_a_start_whose_program_fails_is_answered_at_once_but_not_as_reached(
    codes: list[int], status: int
) -> None:
    program = await stopped_program(restart_policy="never", success_exit_codes=codes)
    ended = lambda: write(program, state="exited", started_at=timezone.now(), exit_code=1)  # noqa: E731
    found, body, seconds = await while_waiting("start", program, ended)
    assert (found, body["state"], body["exit_code"]) == (status, "exited", 1)
    assert seconds < 3


@waiting
@pytest.mark.parametrize(("code", "status"), [(1, 202), (0, 200)])
async def test_a_restart_whose_program_ends_is_reached_only_with_success(code: int, status: int) -> None:
    program = await running_program(restart_policy="never")
    ended = lambda: write(program, state="exited", pid=None, started_at=timezone.now(), exit_code=code)  # noqa: E731
    found, body, seconds = await while_waiting("restart", program, ended)
    assert (found, body["exit_code"]) == (status, code)
    assert seconds < 3


@waiting
@pytest.mark.parametrize(("verb", "other"), [("start", "stop"), ("stop", "start")])
async def test_a_contrary_action_of_someone_else_ends_the_wait(verb: str, other: str) -> None:
    program = await (stopped_program() if verb == "start" else running_program())
    opposite = lambda: request(program, Action(other), actor="someone")  # noqa: E731
    status, _, seconds = await while_waiting(verb, program, opposite)
    assert status == 202
    assert seconds < 3


@waiting
async def test_an_earlier_end_is_not_taken_for_the_new_one() -> None:
    program = await stopped_program()
    await sync_to_async(write)(program, state="exited", started_at=timezone.now(), exit_code=0)
    status, body, _ = await while_waiting("start", program, wait=0.4)
    assert (status, body["state"]) == (202, "exited")


@waiting
async def test_a_start_that_is_given_up_is_answered_at_once_with_its_reason() -> None:
    program = await stopped_program()
    fatal = lambda: write(program, state="fatal", reason="no such file: nix")  # noqa: E731
    status, body, seconds = await while_waiting("start", program, fatal)
    assert (status, body["state"], body["reason"]) == (202, "fatal", "no such file: nix")
    assert seconds < 3


@waiting
async def test_starting_after_a_failure_waits_for_the_new_outcome() -> None:
    program = await stopped_program()
    await sync_to_async(write)(program, state="fatal", reason="old")
    again = lambda: running(program, pid=9)  # noqa: E731
    status, body, _ = await while_waiting("start", program, again)
    assert (status, body["pid"]) == (200, 9)


@waiting
async def test_a_stop_is_answered_once_stopped() -> None:
    program = await running_program()
    steps = [lambda: write(program, state="stopping"), lambda: write(program, state="stopped", pid=None)]
    status, body, _ = await while_waiting("stop", program, *steps)
    assert (status, body["state"]) == (200, "stopped")


@waiting
async def test_a_restart_is_answered_when_other_processes_run() -> None:
    program = await running_program(instances_min=2, instances_max=2)
    steps = [lambda: running(program, 0, pid=200), lambda: running(program, 1, pid=201)]
    status, body, _ = await while_waiting("restart", program, *steps)
    assert (status, [process["pid"] for process in body["processes"]]) == (200, [200, 201])


@waiting
async def test_a_restart_is_not_done_while_an_old_process_runs() -> None:
    program = await running_program(instances_min=2, instances_max=2)
    status, _, _ = await while_waiting("restart", program, lambda: running(program, 0, pid=200), wait=0.5)
    assert status == 202


@waiting
async def test_waiting_ends_at_the_timeout_with_the_current_status() -> None:
    program = await running_program()
    status, body, seconds = await while_waiting("kill", program, wait=0.3)
    assert (status, body["state"], body["desired_state"]) == (202, "running", "stopped")
    assert 0.3 <= seconds < 2


@waiting
async def test_a_change_without_a_wake_up_signal_or_a_revision_is_noticed() -> None:
    program = await running_program()
    silently = lambda: Process.objects.update(state="stopped")  # noqa: E731
    status, _, seconds = await while_waiting("stop", program, silently)
    assert (status, seconds < 3) == (200, True)


@waiting
async def test_a_program_removed_meanwhile_is_404() -> None:
    program = await running_program()
    status, body, _ = await while_waiting("stop", program, lambda: remove(program, actor="x"))
    assert (status, body["detail"]) == (404, f"The program {program.pk} was removed.")


@waiting
async def test_many_can_wait_at_the_same_time() -> None:
    program = await running_program()
    clear, client = await sync_to_async(token)(Role.OPERATE), AsyncClient()
    path = f"/api/programs/{program.pk}/restart?wait=10"
    calls = [asyncio.create_task(post(path, clear, client)) for _ in range(30)]
    async with asyncio.timeout(60):
        while await Intent.objects.acount() < len(calls):
            await asyncio.sleep(0.02)
        await sync_to_async(running)(program, pid=777)
        doorbell.ring("web")
        answers = await asyncio.gather(*calls)
    assert {(answer.status_code, answer.json()["pid"]) for answer in answers} == {(200, 777)}


# --- Console, scaling, many -----------------------------------------------------------------------------


def test_input_is_sent_to_the_console(api: Api) -> None:
    program = define(stdin="console")
    running(program)
    assert api("POST", f"/programs/{program.pk}/input", {"text": "save-all\n"})[0] == 202
    assert Intent.objects.get().data == {"text": "save-all\n"}


def test_a_program_without_a_console_refuses_input(api: Api) -> None:
    program = define()
    running(program)
    assert api("POST", f"/programs/{program.pk}/input", {"text": "x\n"})[0] == 409


@pytest.mark.parametrize("body", [{"text": ""}, {"text": "\x00"}, {"text": "x" * 5000}, {"text": 5}, {}, [], None])
def test_invalid_input_is_refused(api: Api, body: Any) -> None:
    program = define(stdin="console")
    running(program)
    assert api("POST", f"/programs/{program.pk}/input", body)[0] == 422
    assert not Intent.objects.exists()


def test_scaling_stays_within_the_definition(api: Api) -> None:
    program = define(instances_min=1, instances_max=3)
    status, body = api("POST", f"/programs/{program.pk}/scale", {"instances": 3})
    assert (status, body["instances"]["desired"]) == (202, 3)
    assert ProgramEvent.objects.get(type="program.scaled").data == {"from": 1, "to": 3}
    for wrong in (0, 4, -1, 2.5, "2", None, 10**30):
        status, body = api("POST", f"/programs/{program.pk}/scale", {"instances": wrong})
        assert (status, body["errors"][0]["field"]) == (422, "instances")


def test_an_action_for_many_programs_has_a_result_for_each(api: Api) -> None:
    runs, rests = define("runs"), define("rests", autostart=False)
    running(runs)
    write(rests, state="stopped")
    status, body = api("POST", "/programs/actions", {"action": "stop", "ids": [runs.pk, rests.pk, 99]})
    assert (status, body["action"]) == (202, "stop")
    assert [(found["id"], found["accepted"], found["detail"]) for found in body["results"]] == [
        (rests.pk, False, "rests cannot stop: it is stopped."),
        (runs.pk, True, None),
        (99, False, "There is no program 99."),
    ]
    assert [intent.program_id for intent in Intent.objects.all()] == [runs.pk]


def test_programs_can_be_selected_by_tags_or_all(api: Api) -> None:
    for name, tags in (("a", ["x"]), ("b", ["y", "z"]), ("c", [])):
        running(define(name, tags=tags))
    _, by_tags = api("POST", "/programs/actions", {"action": "restart", "tags": ["x", "z"]})
    assert [found["name"] for found in by_tags["results"]] == ["a", "b"]
    _, everyone = api("POST", "/programs/actions", {"action": "restart", "all": True})
    assert [found["name"] for found in everyone["results"]] == ["a", "b", "c"]


@pytest.mark.parametrize(
    "body",
    [
        {"action": "stop"},
        {"action": "stop", "all": False},
        {"action": "stop", "ids": [1], "all": True},
        {"action": "stop", "ids": []},
        {"action": "stop", "ids": ["1"]},
        {"action": "stop", "ids": [2**63]},
        {"action": "remove", "all": True},
        {"action": "__class__", "all": True},
        {"all": True},
    ],
)
def test_an_ambiguous_selection_is_refused(api: Api, body: Any) -> None:
    assert api("POST", "/programs/actions", body)[0] == 422
