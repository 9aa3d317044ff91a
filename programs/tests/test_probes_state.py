"""Health, readiness and restarts derived from probe results; and the tasks that run the probes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
import structlog

from programs.probes import CHECKS, HealthUpdate, Probe, ProbeContext, Prober, ProbeResult, ProbeState

GOOD = ProbeResult(True, "fine", 0.01)
BAD = ProbeResult(False, "broken", 0.01)
LIVENESS = Probe("tcp", "127.0.0.1:1", failures=3)
READINESS = Probe("tcp", "127.0.0.1:2", purpose="readiness", failures=2)


def after(state: ProbeState, number: int, *results: ProbeResult, now: float = 100.0) -> HealthUpdate:
    """The update for the last of several results of one probe."""
    return [state.record(number, result, now) for result in results][-1]


def test_health_is_unknown_before_the_first_result() -> None:
    assert ProbeState([LIVENESS]).health == ""


def test_one_success_means_healthy() -> None:
    update = after(ProbeState([LIVENESS]), 0, GOOD)
    assert (update.health, update.changed, update.restart) == ("healthy", True, False)


def test_consecutive_failures_mean_unhealthy_and_request_a_restart() -> None:
    state = ProbeState([LIVENESS])
    assert after(state, 0, GOOD, BAD, BAD).health == "healthy"
    assert after(state, 0, BAD) == HealthUpdate("unhealthy", "tcp 127.0.0.1:1: broken", restart=True, changed=True)


def test_a_success_resets_the_count_of_failures() -> None:
    assert after(ProbeState([LIVENESS]), 0, BAD, BAD, GOOD, BAD, BAD).restart is False


def test_a_restart_is_requested_again_after_as_many_further_failures() -> None:
    state = ProbeState([LIVENESS])
    assert [state.record(0, BAD, 0.0).restart for _ in range(7)] == [False, False, True, False, False, True, False]


def test_a_failing_readiness_probe_means_unhealthy_without_restart() -> None:
    update = after(ProbeState([READINESS]), 0, BAD, BAD, BAD, BAD)
    assert (update.health, update.restart) == ("unhealthy", False)


def test_failures_within_the_grace_period_do_not_count() -> None:
    state = ProbeState([LIVENESS], grace_until=100.0)
    assert after(state, 0, BAD, BAD, BAD, BAD, now=99.9) == HealthUpdate(
        "", "tcp 127.0.0.1:1: broken", False, False
    )
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


def test_a_change_of_readiness_alone_is_reported() -> None:
    state = ProbeState([LIVENESS, READINESS])
    update = after(state, 1, GOOD)
    assert (update.health, update.changed, state.ready) == ("", True, True)


def test_one_unhealthy_probe_makes_the_process_unhealthy_and_is_named() -> None:
    state = ProbeState([LIVENESS, READINESS])
    after(state, 0, BAD, BAD, BAD)
    assert after(state, 1, GOOD).detail == "tcp 127.0.0.1:1: broken"
    assert state.health == "unhealthy"


# --- The tasks ---


class Recorder:
    """Records the calls of a prober."""

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
    """Healthy while the file exists."""
    given = {"purpose": "liveness", "period": 0.05, "timeout": 5, "failures": 2, **fields}
    return Probe.parse({"kind": "exec", "target": f"test -e {file}", **given}, 0)


@pytest.fixture
def shell() -> ProbeContext:
    return ProbeContext(environment={"PATH": "/usr/bin:/bin"})


async def test_a_prober_reports_only_changes(tmp_path: Path, shell: ProbeContext) -> None:
    file, recorder = tmp_path / "alive", Recorder()
    file.touch()
    prober = Prober([file_probe(file)], shell, recorder)
    prober.start()
    await until(lambda: recorder.healths == ["healthy"])
    file.unlink()
    await until(lambda: "unhealthy" in recorder.healths)
    assert recorder.calls[1] == ("unhealthy", "exec test: exit code 1", True)
    file.touch()
    await until(lambda: recorder.healths[-1] == "healthy")
    await prober.stop()


async def test_a_stopped_prober_leaves_no_task_and_reports_nothing(tmp_path: Path, shell: ProbeContext) -> None:
    recorder, before = Recorder(), asyncio.all_tasks()
    prober = Prober([file_probe(tmp_path), Probe("exec", "sleep 300", timeout=300)], shell, recorder)
    prober.start()
    await until(
        lambda: len(recorder.calls) == 0 and prober.health == "" and len(asyncio.all_tasks()) > len(before)
    )
    await asyncio.wait_for(prober.stop(), 60)
    assert asyncio.all_tasks() == before
    said = len(recorder.calls)
    await asyncio.sleep(0.1)
    assert len(recorder.calls) == said


async def test_a_prober_may_be_stopped_from_its_callback(tmp_path: Path, shell: ProbeContext) -> None:
    recorder = Recorder()

    def stop(health: str, detail: str, restart: bool) -> None:
        recorder(health, detail, restart)
        prober.stop()

    prober = Prober([file_probe(tmp_path / "none", failures=1)], shell, stop)
    prober.start()
    await until(lambda: bool(recorder.calls))
    await asyncio.wait_for(prober.stop(), 60)
    assert recorder.calls == [("unhealthy", "exec test: exit code 1", True)]


async def test_a_prober_continues_when_its_callback_raises(tmp_path: Path, shell: ProbeContext) -> None:
    file, recorder = tmp_path / "alive", Recorder()
    recorder.error = RuntimeError("callback error")
    prober = Prober([file_probe(file, failures=1)], shell, recorder)
    with structlog.testing.capture_logs() as logs:
        prober.start()
        await until(lambda: len(recorder.calls) >= 2)
    await prober.stop()
    assert {entry["event"] for entry in logs} == {"probe.report_failed"}


async def test_a_check_that_raises_counts_as_failed(shell: ProbeContext, monkeypatch: pytest.MonkeyPatch) -> None:
    async def faulty(probe: Probe, context: ProbeContext) -> str:
        raise ZeroDivisionError("a slip")

    monkeypatch.setitem(CHECKS, "exec", faulty)
    recorder = Recorder()
    prober = Prober([Probe("exec", "true", period=0.05, failures=1)], shell, recorder)
    with structlog.testing.capture_logs():
        prober.start()
        await until(lambda: bool(recorder.calls))
    await prober.stop()
    assert recorder.calls[0] == ("unhealthy", "exec true: internal error of the probe: a slip", True)


async def test_a_prober_ignores_failures_in_its_grace_period(tmp_path: Path, shell: ProbeContext) -> None:
    recorder = Recorder()
    prober = Prober([file_probe(tmp_path / "none", failures=1)], shell, recorder, grace_seconds=0.5)
    started = asyncio.get_running_loop().time()
    prober.start()
    await until(lambda: bool(recorder.calls))
    assert asyncio.get_running_loop().time() - started >= 0.5
    await prober.stop()


async def test_a_prober_is_ready_with_its_readiness_probe(shell: ProbeContext) -> None:
    recorder, lines = Recorder(), ["starting"]
    shell.new_lines = lambda: [lines.pop() for _ in list(lines)]
    prober = Prober([Probe("log", "Done", "readiness", period=0.05, failures=1000)], shell, recorder)
    prober.start()
    await until(lambda: not lines)
    assert prober.ready is False
    lines.append("Done (3.2s)!")
    await until(lambda: prober.ready)
    await prober.stop()
    assert recorder.healths == ["healthy"]
