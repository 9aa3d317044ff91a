from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.conf import settings
from django.test import AsyncClient

from core import secrets
from core.access import Role
from core.models import ApiToken
from core.secrets import MASK
from programs import masked_logs, services
from programs.api import logs
from programs.connection_limits import MAX_CONNECTIONS, connections
from programs.definition import conversion, environment
from programs.logs.paths import LogFile
from programs.models import Host, Program

from .api_rig import Api, define, running, token


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, settings: Any) -> None:
    settings.LOG_DIR = tmp_path
    connections._open.clear()


@pytest.fixture
def api(db: None) -> Api:
    return Api(Role.READ)


def say(program: Program, *lines: str, index: int = 0) -> None:
    from django.conf import settings

    log = LogFile(settings.LOG_DIR / str(program.pk), index)
    log.directory.mkdir(exist_ok=True)
    with log.live.open("a") as file:
        file.writelines(f"{line}\n" for line in lines)


def texts(found: Any) -> list[str]:
    return [line["text"] for line in found["lines"]]


def test_the_newest_lines_are_returned_oldest_first(api: Api) -> None:
    program = define()
    say(program, *map(str, range(300)))
    found = api.get(f"/programs/{program.pk}/logs?tail=3")
    assert (texts(found), found["truncated"]) == (["297", "298", "299"], True)
    assert set(found["lines"][0]) == {"time", "text"}
    assert len(api.get(f"/programs/{program.pk}/logs")["lines"]) == 200


def test_a_program_without_output_has_no_lines(api: Api) -> None:
    assert api.get(f"/programs/{define().pk}/logs") == {"lines": [], "truncated": False}


def test_search_is_literal_and_ignores_case(api: Api) -> None:
    program = define()
    say(program, "An Error (.*) here", "all well", "no error")
    assert texts(api.get(f"/programs/{program.pk}/logs?q=ERROR")) == ["An Error (.*) here", "no error"]
    assert texts(api.get(f"/programs/{program.pk}/logs?q=(.*)")) == ["An Error (.*) here"]


def test_instances_are_merged_or_read_separately(api: Api) -> None:
    program = define(instances_min=2, instances_max=2)
    for index in (0, 1):
        running(program, index)
        say(program, f"from {index}", index=index)
    merged = api.get(f"/programs/{program.pk}/logs")["lines"]
    assert sorted((line["instance"], line["text"]) for line in merged) == [(0, "from 0"), (1, "from 1")]
    assert texts(api.get(f"/programs/{program.pk}/logs?instance=1")) == ["from 1"]


def test_secrets_are_masked_and_cannot_be_guessed_by_searching(api: Api) -> None:
    program = define(environment=[{"name": "TOKEN", "value": "hunter2-hunter2", "secret": True}])
    say(program, "using hunter2-hunter2", "hunter is a game")
    assert texts(api.get(f"/programs/{program.pk}/logs")) == [f"using {MASK}", "hunter is a game"]
    assert texts(api.get(f"/programs/{program.pk}/logs?q=hunter2")) == []
    assert texts(api.get("/logs?q=hunter")) == ["hunter is a game"]


def test_neither_matches_nor_truncation_reveal_whether_a_guess_is_right(api: Api) -> None:
    program = define(environment=[{"name": "TOKEN", "value": "hunter2-hunter2", "secret": True}])
    say(program, *["using hunter2-hunter2"] * 300)
    for path in (f"/programs/{program.pk}/logs?tail=1&", "/logs?tail=1&"):
        answers = [api.get(f"{path}q={guess}") for guess in ("hunter2-", "2-h", "hunter9-", "using hunter2")]
        assert answers == [{"lines": [], "truncated": False}] * 4
        assert api.get(f"{path}q=using")["truncated"] is True
        assert texts(api.get(f"{path}q=using {MASK}")) == [f"using {MASK}"]


def test_a_secret_of_several_lines_is_masked_in_each_line(api: Api) -> None:
    key = "-----BEGIN KEY-----\nMIIEvQIBADANBg\r\n  kqhkiG9w0BAQEF==\n\n}\n-----END KEY-----\n"
    program = define(environment=[{"name": "KEY", "value": key, "secret": True}])
    say(program, *key.split("\n"), "key=MIIEvQIBADANBg\\nkqhkiG9w0BAQEF==", "f() { }")
    shown = [line for line in texts(api.get(f"/programs/{program.pk}/logs")) if line]
    assert shown == [MASK, MASK, f"  {MASK}", "}", MASK, f"key={MASK}\\n{MASK}", "f() { }"]
    assert texts(api.get(f"/programs/{program.pk}/logs?q=kqhkiG9w")) == []


def test_a_secret_stays_masked_after_it_was_replaced_or_removed(api: Api) -> None:
    def save(*environment: dict[str, Any]) -> None:
        services.save_definition({"environment": list(environment)}, actor="x", program=Program.objects.get())

    program = define(environment=[{"name": "TOKEN", "value": "first-secret", "secret": True}])
    save({"name": "TOKEN", "value": "second-secret", "secret": True})
    save({"name": "TOKEN", "value": {"set": True}, "secret": True}, {"name": "MODE", "value": "test"})
    save({"name": "MODE", "value": "test"})
    say(program, "first-secret", "second-secret", "test")
    assert texts(api.get(f"/programs/{program.pk}/logs")) == [MASK, MASK, "test"]
    save({"name": "TOKEN", "value": "first-secret"})  # public now
    assert texts(api.get(f"/programs/{program.pk}/logs")) == ["first-secret", MASK, "test"]


def test_replaced_secrets_are_bounded(api: Api) -> None:
    program = define(environment=[{"name": "TOKEN", "value": "secret-0", "secret": True}])
    for number in range(1, environment.MAX_REPLACED_SECRETS + 3):
        entry = {"name": "TOKEN", "value": f"secret-{number}", "secret": True}
        conversion.assign(program, {"environment": [entry]})
    values = environment.secret_values(program)
    assert len(set(values)) == environment.MAX_REPLACED_SECRETS + 1
    assert (values[0], values[-1], "secret-0" in values) == (f"secret-{number}", f"secret-{number - 1}", False)


def test_replaced_secrets_that_cannot_be_decrypted_do_not_hide_lines(
    api: Api, settings: Any, tmp_path: Path
) -> None:
    program = define(environment=[{"name": "TOKEN", "value": "hunter2-hunter2", "secret": True}])
    settings.DATA_DIR = tmp_path
    secrets.create_missing_keys(lose_secrets=True)  # another key
    values = {"environment": [{"name": "TOKEN", "value": "set again", "secret": True}]}
    services.save_definition(values, actor="x", program=program)
    say(program, "is set again")
    assert texts(api.get(f"/programs/{program.pk}/logs")) == [f"is {MASK}"]


def test_lines_are_hidden_when_secrets_cannot_be_decrypted(api: Api, settings: Any, tmp_path: Path) -> None:
    program = define(environment=[{"name": "TOKEN", "value": "hunter2-hunter2", "secret": True}])
    say(program, "using hunter2-hunter2")
    settings.DATA_DIR = tmp_path  # without the key
    assert texts(api.get(f"/programs/{program.pk}/logs")) == [environment.UNREADABLE_SECRETS]
    assert texts(api.get(f"/programs/{program.pk}/logs?q=hunter2")) == []
    assert secrets.keys_path().parent == tmp_path


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("tail=0", "tail"),
        ("tail=5001", "tail"),
        ("around=soon", "around"),
        ("instance=-1", "instance"),
        ("instance=../../etc", "instance"),
        ("file=/etc/passwd", "file"),
        ("stream=true&since=2026-01-01", "stream"),
        ("q=%00", "q"),
    ],
)
def test_invalid_parameters_are_refused(api: Api, query: str, field: str) -> None:
    status, body = api("GET", f"/programs/{define().pk}/logs?{query}")
    assert (status, body["errors"][0]["field"]) == (422, field)


def test_all_programs_can_be_searched(api: Api) -> None:
    web, db = define("web"), define("db")
    say(web, "needle one", "hay")
    say(db, "Needle two")
    define("silent")
    found = api.get("/logs?q=needle")
    assert sorted((line["program"]["name"], line["text"], line["instance"]) for line in found["lines"]) == [
        ("db", "Needle two", 0),
        ("web", "needle one", 0),
    ]
    assert found["truncated"] is False
    assert api.get("/logs?q=needle&tail=1")["truncated"] is True


@pytest.mark.parametrize("is_named", [True, False], ids=["host of the program", "default host"])
def test_logs_of_another_host_are_refused_with_its_name(api: Api, is_named: bool) -> None:
    program = define("db")
    nas = Host.objects.create(name="nas", is_default=not is_named)
    Program.objects.update(host=nas if is_named else None)
    say(program, "needle of old times")
    for query in ("", "?q=needle", "?stream=true"):
        status, body = api("GET", f"/programs/{program.pk}/logs{query}")
        assert (status, "db runs on nas" in body["detail"]) == (409, True)
    assert texts(api.get("/logs?q=needle")) == []
    Host.objects.update(name=settings.HOST_NAME)
    assert texts(api.get("/logs?q=needle")) == texts(api.get(f"/programs/{program.pk}/logs"))


def test_a_search_needs_a_text(api: Api) -> None:
    assert api("GET", "/logs")[0] == 422
    assert api("GET", "/logs?q=")[0] == 422


def test_a_search_that_takes_too_long_is_truncated(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    say(define("web"), "needle")
    monkeypatch.setattr(masked_logs, "SEARCH_SECONDS", -1)
    assert api.get("/logs?q=needle") == {"lines": [], "truncated": True}


def test_searching_all_programs_takes_a_fixed_number_of_queries(
    api: Api, django_assert_max_num_queries: Any
) -> None:
    for number in range(20):
        say(define(f"p{number}"), "needle")
    api.get("/logs?q=x")
    with django_assert_max_num_queries(3):
        assert len(api.get("/logs?q=needle")["lines"]) == 20


# --- Following ------------------------------------------------------------------------------------------

following = pytest.mark.django_db(transaction=True)


@asynccontextmanager
async def followed(program: Program, clear: str, query: str = "") -> AsyncIterator[AsyncIterator[bytes]]:
    headers = {"Authorization": f"Bearer {clear}", "Accept-Encoding": "gzip"}
    path = f"/api/programs/{program.pk}/logs?stream=true{query}"
    answer: Any = await AsyncClient().generic("GET", path, headers=headers)
    assert (answer.status_code, answer["Content-Type"]) == (200, "text/plain; charset=utf-8")
    assert (answer["X-Content-Type-Options"], answer.get("Content-Encoding")) == ("nosniff", None)
    chunks = aiter(answer.streaming_content)
    assert await anext(chunks) == b""  # which sends the headers
    yield chunks
    hanging_up = asyncio.ensure_future(anext(chunks, None))
    await asyncio.sleep(0.05)
    hanging_up.cancel()  # as Django does when the client is gone
    await asyncio.gather(hanging_up, return_exceptions=True)


async def next_of(chunks: AsyncIterator[bytes], seconds: float = 3) -> str:
    return (await asyncio.wait_for(anext(chunks), seconds)).decode()


@following
async def test_a_stream_sends_new_lines_as_plain_text() -> None:
    program = await sync_to_async(define)()
    say(program, "old", "last")
    async with followed(program, await sync_to_async(token)(Role.READ), "&tail=1") as chunks:
        assert await next_of(chunks) == "last\n"
        began = time.monotonic()
        say(program, "<b>new</b>")
        assert await next_of(chunks) == "<b>new</b>\n"
        assert time.monotonic() - began < 30


@following
async def test_a_stream_can_be_filtered() -> None:
    program = await sync_to_async(define)()
    async with followed(program, await sync_to_async(token)(Role.READ), "&q=wanted") as chunks:
        upcoming = asyncio.create_task(next_of(chunks))
        await asyncio.sleep(0.3)
        say(program, "something", "WANTED here")
        assert await upcoming == "WANTED here\n"


@following
async def test_a_stream_masks_a_secret_that_is_set_while_it_runs() -> None:
    program = await sync_to_async(define)()
    say(program, "old")
    async with followed(program, await sync_to_async(token)(Role.READ)) as chunks:
        assert await next_of(chunks) == "old\n"
        environment = [{"name": "TOKEN", "value": "hunter2-hunter2", "secret": True}]
        save = sync_to_async(services.save_definition)
        await save({"environment": environment}, actor="x", program=await Program.objects.aget())
        say(program, "using hunter2-hunter2")
        assert await next_of(chunks) == f"using {MASK}\n"


@following
@pytest.mark.parametrize(
    "end",
    [lambda: services.remove(Program.objects.get(), actor="x"), lambda: ApiToken.objects.all().delete()],
    ids=["removed program", "revoked token"],
)
async def test_a_stream_ends_when_access_is_lost(end: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "RECHECK_SECONDS", 0.1)
    program = await sync_to_async(define)()
    say(program, "first")
    async with followed(program, await sync_to_async(token)(Role.READ)) as chunks:
        assert await next_of(chunks) == "first\n"
        await sync_to_async(end)()
        with pytest.raises(StopAsyncIteration):
            await next_of(chunks)


@following
async def test_a_stream_counts_as_a_connection_until_it_ends() -> None:
    program = await sync_to_async(define)()
    say(program, "first")
    clear = await sync_to_async(token)(Role.READ)
    async with followed(program, clear) as chunks:
        await next_of(chunks)
        (user,) = connections._open
        assert connections._open[user] == 1
        connections._open[user] = MAX_CONNECTIONS
        headers = {"Authorization": f"Bearer {clear}"}
        path = f"/api/programs/{program.pk}/logs?stream=true"
        refused: Any = await AsyncClient().generic("GET", path, headers=headers)
        assert refused.status_code == 429
        connections._open[user] = 1
    assert not connections._open
