from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from asgiref.sync import sync_to_async

from core import doorbell
from core.access import Role
from metrics.consumers import ChartSocket, ProgramChartSocket, routes
from metrics.models import ResourceUsage
from metrics.storage.tiers import RAW
from programs import services
from programs.connection_limits import connections
from programs.consumers import BAD_QUERY, FORBIDDEN, NOT_FOUND, UNAUTHENTICATED
from programs.consumers import routes as programs_routes
from programs.models import Process
from programs.tests.actors import AgentBox, wait_for, wait_state
from programs.tests.actors import define as define_for_agent
from programs.tests.api_rig import define, host, person
from programs.tests.socket_rig import OWN_ORIGIN, SocketRig, bearer, close_code, receive, session_of, token_async

from .history import store_host_usage, store_usage

pytestmark = pytest.mark.django_db(transaction=True)
rig = SocketRig(routes)
define_async, host_async, used_async = sync_to_async(define), sync_to_async(host), sync_to_async(store_usage)


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, settings: Any) -> None:
    settings.RUN_DIR = tmp_path / "run"
    settings.SAMPLE_SECONDS = 0.05
    connections._open.clear()


@pytest.fixture
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("metrics.consumers.MAX_POLL_SECONDS", 0.05)


def address(program: Any, query: str = "") -> str:
    return f"/ws/programs/{program.pk}/metrics/{query}"


def interval() -> int:
    return RAW.floor(int(time.time()))


async def test_the_history_is_sent_first_then_each_point(often: None) -> None:
    program, at = await define_async(), interval()
    await used_async(RAW, program, at - 20, cpu=5)
    async with rig.opened(address(program, "?metrics=cpu_percent&aggregates=avg")) as found:
        history = await receive(found, "history")
        await used_async(RAW, program, at, cpu=7)
        points = await receive(found, "points")
    assert (history["step"], history["tier"]) == (10, "raw")
    assert history["start"] <= at - 3590
    assert history["series"] == {"cpu_percent": {"avg": [[at - 20, 5.0]]}}
    assert points["series"] == {"cpu_percent": {"avg": [[at - 10, None], [at, 7.0]]}}


async def test_a_reconnect_neither_misses_nor_repeats_points(often: None) -> None:
    program, at = await define_async(), interval()
    for timestamp in (at - 40, at - 30, at - 10):
        await used_async(RAW, program, timestamp)
    async with rig.opened(address(program, f"?metrics=cpu_percent&aggregates=avg&since={at - 30}")) as found:
        history = await receive(found, "history")
    assert history["start"] == at - 30
    times = [time for time, _ in history["series"]["cpu_percent"]["avg"]]
    assert times == [at - 30, at - 20, at - 10]


async def test_all_measures_are_sent_by_default() -> None:
    program = await define_async()
    async with rig.opened(address(program)) as found:
        series = (await receive(found, "history"))["series"]
    assert series == {
        "cpu_percent": {"avg": [], "min": [], "max": []},
        "memory_bytes": {"avg": [], "min": [], "max": []},
        "threads": {"max": []},
        "open_files": {"max": []},
        "read_bytes_per_second": {"avg": []},
        "write_bytes_per_second": {"avg": []},
    }


async def test_a_month_is_streamed_in_steps_of_hours() -> None:
    program = await define_async()
    async with rig.opened(address(program, "?hours=720")) as found:
        assert (await receive(found, "history"))["step"] == 7200


@pytest.mark.parametrize(
    "query",
    [
        "?hours=0", "?hours=745", "?hours=nan", "?hours=x", "?step=0", "?step=x", "?step=1&hours=20",
        "?since=yesterday", "?metrics=gpu", "?aggregates=median", "?metrics=threads&aggregates=p95", "?unknown=1",
    ],
)  # fmt: skip
async def test_an_invalid_query_is_refused(query: str) -> None:
    program = await define_async()
    assert await rig.refusal(address(program, query), bearer(await token_async())) == BAD_QUERY


async def test_missing_credentials_and_foreign_origins_are_refused() -> None:
    program = await define_async()
    assert await rig.refusal(address(program), OWN_ORIGIN) == UNAUTHENTICATED
    cookie = await session_of(await sync_to_async(person)(Role.READ))
    assert await rig.refusal(address(program), (b"origin", b"http://evil.example"), cookie) == FORBIDDEN
    async with rig.opened(address(program), OWN_ORIGIN, cookie) as found:
        await receive(found, "history")


async def test_an_unknown_program_is_refused() -> None:
    header = bearer(await token_async())
    assert await rig.refusal("/ws/programs/99/metrics/", header) == NOT_FOUND
    assert await rig.refusal(f"/ws/programs/{2**70}/metrics/", header) == NOT_FOUND


async def test_the_socket_closes_with_its_program(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ProgramChartSocket, "recheck_seconds", 0.1)
    program = await define_async()
    async with rig.opened(address(program)) as found:
        await sync_to_async(services.remove)(program, actor="x")
        assert await close_code(found) == NOT_FOUND


async def test_a_host_can_be_streamed_too(often: None) -> None:
    machine, at = await host_async("nas"), interval()
    async with rig.opened("/ws/metrics/host/?host=nas&metrics=cpu_percent&aggregates=avg,max") as found:
        assert (await receive(found, "history"))["series"] == {"cpu_percent": {"avg": [], "max": []}}
        await sync_to_async(store_host_usage)(machine, RAW, at)
        points = await receive(found, "points")
    assert points["series"] == {"cpu_percent": {"avg": [[at, 20.0]], "max": [[at, 30.0]]}}
    assert await rig.refusal("/ws/metrics/host/?host=far", bearer(await token_async())) == NOT_FOUND


def test_it_polls_at_most_once_per_sample(settings: Any) -> None:
    settings.SAMPLE_SECONDS = 2.0
    assert [ChartSocket.poll_seconds(step) for step in (1, 10, 30, 7200)] == [2.0, 2.0, 6.0, 10.0]


async def test_sampled_values_reach_the_status_socket_without_an_event(box: AgentBox) -> None:
    @sync_to_async
    def begin() -> Process:
        box.start()
        program = define_for_agent("busy", "sh -c 'while :; do :; done'")
        process = wait_state(program, "running")
        wait_for(ResourceUsage.objects.filter(program=program).exists, "a point")
        return process

    process = await begin()
    doorbell.ring("web")
    async with SocketRig(programs_routes).opened("/ws/status/") as found:
        seen, types = None, set()
        while not (seen and seen["cpu_percent"] > 1 and seen["memory_bytes"] > 0):
            message = json.loads(await found.receive_from(timeout=60))
            types.add(message["type"])
            if message["type"] == "delta":
                seen = next((one for one in message["programs"] if one["pid"] == process.pid), seen)
    assert types == {"snapshot", "delta"}
