"""From outcomes to health, readiness and restarts; and the tasks that keep asking."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
import structlog

from programs.probes import CHECKS, Outcome, Probe, ProbeContext, Prober, ProbeState, Verdict

GOOD = Outcome(True, "fine", 0.01)
BAD = Outcome(False, "broken", 0.01)
LIVENESS = Probe("tcp", "127.0.0.1:1", failures=3)
READINESS = Probe("tcp", "127.0.0.1:2", purpose="readiness", failures=2)


def after(state: ProbeState, number: int, *outcomes: Outcome, now: float = 100.0) -> Verdict:
    """The verdict after the last of several outcomes of one probe."""
    return [state.record(number, outcome, now) for outcome in outcomes][-1]


def test_health_is_not_known_before_the_first_outcome() -> None:
    assert ProbeState([LIVENESS]).health == ""


def test_one_success_makes_healthy() -> None:
    verdict = after(ProbeState([LIVENESS]), 0, GOOD)
    assert (verdict.health, verdict.changed, verdict.restart) == ("healthy", True, False)


def test_failures_in_a_row_make_unhealthy_and_ask_for_a_restart() -> None:
    state = ProbeState([LIVENESS])
    assert after(state, 0, GOOD, BAD, BAD).health == "healthy"
    assert after(state, 0, BAD) == Verdict("unhealthy", "tcp 127.0.0.1:1: broken", restart=True, changed=True)


def test_a_success_between_failures_begins_the_count_anew() -> None:
    assert after(ProbeState([LIVENESS]), 0, BAD, BAD, GOOD, BAD, BAD).restart is False


def test_a_restart_is_asked_for_again_only_after_as_many_further_failures() -> None:
    state = ProbeState([LIVENESS])
    assert [state.record(0, BAD, 0.0).restart for _ in range(7)] == [False, False, True, False, False, True, False]


def test_a_failing_readiness_probe_makes_unhealthy_but_restarts_nothing() -> None:
    verdict = after(ProbeState([READINESS]), 0, BAD, BAD, BAD, BAD)
    assert (verdict.health, verdict.restart) == ("unhealthy", False)


def test_failures_within_the_grace_do_not_count() -> None:
    state = ProbeState([LIVENESS], grace_until=100.0)
    assert after(state, 0, BAD, BAD, BAD, BAD, now=99.9) == Verdict("", "tcp 127.0.0.1:1: broken", False, False)
    assert after(state, 0, BAD, BAD, now=100.0).health == ""
    assert after(state, 0, BAD, now=101.0).restart is True


def test_a_program_is_not_ready_until_every_readiness_probe_succeeded_once() -> None:
    state = ProbeState([LIVENESS, READINESS, READINESS])
    after(state, 0, GOOD)
    assert after(state, 1, GOOD).changed is False
    assert state.ready is False
    assert after(state, 2, BAD, GOOD).changed is True
    assert state.ready is True


def test_a_program_once_ready_stays_ready() -> None:
    state = ProbeState([READINESS])
    assert after(state, 0, GOOD, BAD, BAD).health == "unhealthy"
    assert state.ready is True


def test_a_program_without_readiness_probes_is_ready_at_once() -> None:
    assert ProbeState([LIVENESS]).ready is True


def test_readiness_that_changes_is_told_though_the_health_does_not() -> None:
    state = ProbeState([LIVENESS, READINESS])
    verdict = after(state, 1, GOOD)
    assert (verdict.health, verdict.changed, state.ready) == ("", True, True)


def test_one_unhealthy_probe_makes_the_whole_unhealthy_and_is_the_one_named() -> None:
    state = ProbeState([LIVENESS, READINESS])
    after(state, 0, BAD, BAD, BAD)
    assert after(state, 1, GOOD).detail == "tcp 127.0.0.1:1: broken"
    assert state.health == "unhealthy"


# --- The tasks ---


class Told:
    """What a prober said."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, str, bool]] = []
        self.error: Exception | None = None

    def __call__(self, health: str, detail: str, restart: bool) -> None:
        self.calls.append((health, detail, restart))
        if self.error:
            raise self.error

    @property
    def healths(self) -> list[str]:
        return [health for health, _, _ in self.calls]


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not true():
            await asyncio.sleep(0.01)


def file_probe(file: Path, **fields: object) -> Probe:
    """Well as long as the file is there."""
    given = {"purpose": "liveness", "period": 0.05, "timeout": 5, "failures": 2, **fields}
    return Probe.parse({"kind": "exec", "target": f"test -e {file}", **given}, 0)


@pytest.fixture
def shell() -> ProbeContext:
    return ProbeContext(environment={"PATH": "/usr/bin:/bin"})


async def test_a_prober_tells_changes_only(tmp_path: Path, shell: ProbeContext) -> None:
    file, told = tmp_path / "alive", Told()
    file.touch()
    prober = Prober([file_probe(file)], shell, told)
    prober.start()
    await until(lambda: told.healths == ["healthy"])
    file.unlink()
    await until(lambda: "unhealthy" in told.healths)
    assert told.calls[1] == ("unhealthy", "exec test: exit code 1", True)
    file.touch()
    await until(lambda: told.healths[-1] == "healthy")
    await prober.stop()


async def test_a_stopped_prober_leaves_no_task_and_tells_nothing_more(tmp_path: Path, shell: ProbeContext) -> None:
    told, before = Told(), asyncio.all_tasks()
    prober = Prober([file_probe(tmp_path), Probe("exec", "sleep 300", timeout=300)], shell, told)
    prober.start()
    await until(lambda: len(told.calls) == 0 and prober.health == "" and len(asyncio.all_tasks()) > len(before))
    await asyncio.wait_for(prober.stop(), 60)
    assert asyncio.all_tasks() == before
    said = len(told.calls)
    await asyncio.sleep(0.1)
    assert len(told.calls) == said


async def test_a_prober_may_be_stopped_by_what_it_tells(tmp_path: Path, shell: ProbeContext) -> None:
    told = Told()

    def stop(health: str, detail: str, restart: bool) -> None:
        told(health, detail, restart)
        prober.stop()

    prober = Prober([file_probe(tmp_path / "none", failures=1)], shell, stop)
    prober.start()
    await until(lambda: bool(told.calls))
    await asyncio.wait_for(prober.stop(), 60)
    assert told.calls == [("unhealthy", "exec test: exit code 1", True)]


async def test_a_prober_goes_on_when_its_listener_raises(tmp_path: Path, shell: ProbeContext) -> None:
    file, told = tmp_path / "alive", Told()
    told.error = RuntimeError("nobody home")
    prober = Prober([file_probe(file, failures=1)], shell, told)
    with structlog.testing.capture_logs() as logs:
        prober.start()
        await until(lambda: len(told.calls) >= 2)
    await prober.stop()
    assert {entry["event"] for entry in logs} == {"probe.change_not_told"}


async def test_a_check_with_a_fault_of_its_own_counts_as_failed(
    shell: ProbeContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def faulty(probe: Probe, context: ProbeContext) -> str:
        raise ZeroDivisionError("a slip")

    monkeypatch.setitem(CHECKS, "exec", faulty)
    told = Told()
    prober = Prober([Probe("exec", "true", period=0.05, failures=1)], shell, told)
    with structlog.testing.capture_logs():
        prober.start()
        await until(lambda: bool(told.calls))
    await prober.stop()
    assert told.calls[0] == ("unhealthy", "exec true: the probe itself failed: a slip", True)


async def test_a_prober_waits_out_its_grace(tmp_path: Path, shell: ProbeContext) -> None:
    told = Told()
    prober = Prober([file_probe(tmp_path / "none", failures=1)], shell, told, grace_seconds=0.5)
    begun = asyncio.get_running_loop().time()
    prober.start()
    await until(lambda: bool(told.calls))
    assert asyncio.get_running_loop().time() - begun >= 0.5
    await prober.stop()


async def test_a_prober_is_ready_with_its_readiness_probe(shell: ProbeContext) -> None:
    told, lines = Told(), ["starting"]
    shell.new_lines = lambda: [lines.pop() for _ in list(lines)]
    prober = Prober([Probe("log", "Done", "readiness", period=0.05, failures=1000)], shell, told)
    prober.start()
    await until(lambda: not lines)
    assert prober.ready is False
    lines.append("Done (3.2s)!")
    await until(lambda: prober.ready)
    await prober.stop()
    assert told.healths == ["healthy"]
