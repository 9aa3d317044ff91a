from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from channels.testing import WebsocketCommunicator
from django.contrib.auth.models import User

from core import doorbell
from core.access import Role, create_token, set_role
from core.models import ApiToken
from core.secrets import MASK
from programs import services
from programs.connection_limits import MAX_CONNECTIONS, connections
from programs.consumers import (
    FORBIDDEN,
    NOT_FOUND,
    TOO_MANY,
    UNAUTHENTICATED,
    LogSocket,
    Socket,
    StatusSocket,
    routes,
)
from programs.logs.paths import LogFile
from programs.models import Host, Program

from .api_rig import define, host, person, running
from .socket_rig import OWN_ORIGIN, SocketRig, bearer, close_code, receive, session_of, token_async

pytestmark = pytest.mark.django_db(transaction=True)
define_async, host_async = sync_to_async(define), sync_to_async(host)
STATUS = "/ws/status/"
rig = SocketRig(routes)
socket, opened, refusal = rig.socket, rig.opened, rig.refusal


@pytest.fixture(autouse=True)
def own_folders(tmp_path: Path, settings: Any) -> None:
    settings.RUN_DIR = tmp_path / "run"
    settings.LOG_DIR = tmp_path / "logs"
    connections._open.clear()


# --- Authentication --------------------------------------------------------------------------------------


async def test_an_anonymous_connection_is_refused() -> None:
    assert await refusal(STATUS, OWN_ORIGIN) == UNAUTHENTICATED


async def test_a_token_needs_no_origin() -> None:
    async with opened(STATUS, bearer(await token_async(Role.READ))) as found:
        assert (await receive(found, "snapshot"))["programs"] == []


async def test_a_wrong_token_is_refused_even_with_a_session() -> None:
    cookie = await session_of(await sync_to_async(person)())
    assert await refusal(STATUS, OWN_ORIGIN, cookie, bearer("pm_nonsense")) == UNAUTHENTICATED


async def test_a_session_is_accepted_from_our_own_pages() -> None:
    cookie = await session_of(await sync_to_async(person)(Role.READ))
    async with opened(STATUS, OWN_ORIGIN, cookie):
        pass


async def test_an_account_without_a_role_is_refused() -> None:
    cookie = await session_of(await sync_to_async(person)(None))
    assert await refusal(STATUS, OWN_ORIGIN, cookie) == UNAUTHENTICATED


@pytest.mark.parametrize(
    "origin",
    [
        "http://evil.example",
        "http://localhost:8001",
        "https://localhost:8000",
        "http://localhost",
        "null",
        "",
        "//",
    ],
)
async def test_a_foreign_page_cannot_use_our_session(origin: str) -> None:
    cookie = await session_of(await sync_to_async(person)())
    assert await refusal(STATUS, (b"origin", origin.encode()), cookie) == FORBIDDEN


async def test_a_session_without_an_origin_is_refused() -> None:
    assert await refusal(STATUS, await session_of(await sync_to_async(person)())) == FORBIDDEN


async def test_a_foreign_page_is_refused_even_with_a_token() -> None:
    assert await refusal(STATUS, (b"origin", b"http://evil.example"), bearer(await token_async())) == FORBIDDEN


async def test_connections_per_user_are_limited_and_released() -> None:
    header = bearer(await token_async(Role.READ))
    taken = [socket(STATUS, header) for _ in range(MAX_CONNECTIONS)]
    for found in taken:
        assert (await found.connect(timeout=60))[0]
    assert await refusal(STATUS, header) == TOO_MANY
    await taken.pop().disconnect()
    async with opened(STATUS, header), opened(STATUS):  # another user is not affected
        pass
    for found in taken:
        await found.disconnect()


@pytest.mark.parametrize(
    "revoke",
    [
        lambda: ApiToken.objects.all().delete(),
        lambda: User.objects.update(is_active=False),
        lambda: set_role(User.objects.get(), None),
    ],
)
async def test_losing_access_closes_the_socket(revoke: Callable[[], Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(StatusSocket, "recheck_seconds", 0.1)
    async with opened(STATUS) as found:
        await receive(found, "snapshot")
        await asyncio.sleep(0.3)
        await sync_to_async(revoke)()
        assert await close_code(found) == FORBIDDEN


async def test_logging_out_closes_the_socket(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Socket, "recheck_seconds", 0.1)
    user = await sync_to_async(person)(Role.READ)
    cookie = await session_of(user)
    async with opened(STATUS, OWN_ORIGIN, cookie) as found:
        await sync_to_async(user.set_password)("something else")
        await sync_to_async(user.save)()
        assert await close_code(found) == FORBIDDEN


# --- Status ---------------------------------------------------------------------------------------------


async def test_a_snapshot_is_followed_by_deltas() -> None:
    await host_async()
    program = await define_async()
    async with opened(STATUS) as found:
        snapshot = await receive(found, "snapshot")
        await sync_to_async(running)(program, pid=8)
        doorbell.ring("web")
        delta = await receive(found, "delta")
    assert [shown["name"] for shown in snapshot["programs"]] == ["web"]
    assert [shown["pid"] for shown in delta["programs"]] == [8]
    assert delta["previous"] <= snapshot["revision"] < delta["revision"]


async def test_events_are_sent_in_the_format_of_the_api() -> None:
    await host_async()
    async with opened(STATUS) as found:
        await receive(found, "snapshot")
        await define_async("new")
        message = await receive(found, "event")
    assert message["event"]["type"] == "program.created"
    assert message["event"]["program"]["name"] == "new"


async def test_resync_sends_another_snapshot(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(StatusSocket, "snapshot_seconds", 0.1)
    async with opened(STATUS) as found:
        await receive(found, "snapshot")
        await found.send_json_to({"type": "resync"})
        await receive(found, "snapshot")


async def test_repeated_resync_requests_get_one_snapshot_a_second() -> None:
    async with opened(STATUS) as found:
        await receive(found, "snapshot")
        for _ in range(20):
            await found.send_json_to({"type": "resync"})
        assert await found.receive_nothing(timeout=0.6)


@pytest.mark.parametrize("text", ["", "nonsense", "[]", '{"type": "stop"}', '{"type": ["resync"]}', "\ud83d"])
async def test_an_unknown_message_is_answered_with_an_error(text: str) -> None:
    async with opened(STATUS) as found:
        await found.send_input({"type": "websocket.receive", "text": text})
        assert (await receive(found, "error"))["detail"]
        await found.send_input({"type": "websocket.receive", "bytes": b"\xff\x00", "text": None})
        await receive(found, "error")


async def test_an_overlong_message_closes_the_socket() -> None:
    async with opened(STATUS) as found:
        await found.send_input({"type": "websocket.receive", "text": "x" * (64 * 1024 + 1)})
        assert await close_code(found) == 1009


async def test_an_internal_error_closes_the_socket_and_is_logged(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(self: StatusSocket) -> Any:
        raise RuntimeError("a bug")

    monkeypatch.setattr(StatusSocket, "messages", broken)
    async with opened(STATUS) as found:
        assert await close_code(found) == 1011
    assert "socket.failed" in caplog.text


# --- Logs -----------------------------------------------------------------------------------------------


def log_of(program: Program, index: int = 0) -> LogFile:
    from django.conf import settings

    log = LogFile(settings.LOG_DIR / str(program.pk), index)
    log.directory.mkdir(parents=True, exist_ok=True)
    return log


def say(program: Program, *lines: str, index: int = 0) -> None:
    with log_of(program, index).live.open("a") as file:
        file.writelines(f"{line}\n" for line in lines)


async def lines_of(found: WebsocketCommunicator, count: int) -> list[str]:
    lines: list[str] = []
    while len(lines) < count:
        lines += [line["text"] for line in (await receive(found, "lines"))["lines"]]
    return lines


def logs(program: Program, query: str = "") -> str:
    return f"/ws/programs/{program.pk}/logs/{query}"


async def test_the_last_lines_are_followed_by_new_lines() -> None:
    program = await define_async()
    say(program, *(f"old {number}" for number in range(5)))
    async with opened(logs(program, "?tail=2")) as found:
        assert await lines_of(found, 2) == ["old 3", "old 4"]
        began = asyncio.get_running_loop().time()
        say(program, "new")
        assert await lines_of(found, 1) == ["new"]
        assert asyncio.get_running_loop().time() - began < 1


async def test_secrets_of_the_program_are_masked() -> None:
    secret = {"name": "TOKEN", "value": "hunter2-hunter2", "secret": True}
    program = await define_async(environment=[secret])
    say(program, "using hunter2-hunter2 now")
    async with opened(logs(program)) as found:
        assert await lines_of(found, 1) == [f"using {MASK} now"]


async def test_one_instance_can_be_followed_alone() -> None:
    program = await define_async(instances_min=2, instances_max=2)
    await sync_to_async(running)(program, 0)
    await sync_to_async(running)(program, 1)
    say(program, "from zero", index=0)
    say(program, "from one", index=1)
    async with opened(logs(program, "?instance=1")) as found:
        assert await lines_of(found, 1) == ["from one"]
    async with opened(logs(program)) as found:
        assert sorted(await lines_of(found, 2)) == ["from one", "from zero"]


@pytest.mark.parametrize("query", ["?tail=-1", "?tail=5001", "?tail=x", "?instance=-1", "?unknown=1"])
async def test_an_invalid_query_is_refused(query: str) -> None:
    program = await define_async()
    assert await refusal(logs(program, query), bearer(await token_async())) == 4400


async def test_logs_of_an_unknown_program_are_refused() -> None:
    header = bearer(await token_async())
    assert await refusal("/ws/programs/99/logs/", header) == NOT_FOUND
    assert await refusal(f"/ws/programs/{2**70}/logs/", header) == NOT_FOUND


async def test_removing_the_program_closes_the_socket(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LogSocket, "recheck_seconds", 0.1)
    program = await define_async()
    async with opened(logs(program)) as found:
        await sync_to_async(services.remove)(program, actor="x")
        assert await close_code(found) == NOT_FOUND


async def test_a_log_on_another_host_is_refused_with_the_name_of_the_host() -> None:
    program = await define_async()
    await sync_to_async(Program.objects.update)(host=await Host.objects.acreate(name="nas"))
    async with opened(logs(program)) as found:
        assert "runs on nas" in (await receive(found, "error"))["detail"]
        assert await close_code(found) == 4409


async def test_logs_need_authentication() -> None:
    program = await define_async()
    assert await refusal(logs(program), OWN_ORIGIN) == UNAUTHENTICATED
    expired = await sync_to_async(create_token)(await sync_to_async(person)(), "t", Role.READ)
    await sync_to_async(ApiToken.objects.update)(expires_at="2020-01-01T00:00:00Z")
    assert await refusal(logs(program), bearer(expired[1])) == UNAUTHENTICATED
