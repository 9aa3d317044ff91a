"""The job as a whole: hand-over, database errors, parallel jobs, crashes."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
import threading
import time
from typing import Any

import pytest
from django.db import connections

from core.tests.databases import other_connection
from webhooks.delivery import worker as job
from webhooks.models import JobTicket, WebhookAttempt, WebhookDelivery
from webhooks.tests import receiver as answers
from webhooks.tests.receiver import Receiver
from webhooks.tests.rig import attempts, endpoint, only_delivery, pass_time, record_event, send
from webhooks.transports.standard.transport import Standard

pytestmark = pytest.mark.usefixtures("outbox")


class InBackground:
    """Runs the job in a thread."""

    def __init__(self) -> None:
        self.thread = threading.Thread(target=send)
        self.thread.start()

    def join(self) -> None:
        self.thread.join(30)
        assert not self.thread.is_alive()


def wait_for(condition: Any, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_running_job_sends_new_events(receiver: Receiver) -> None:
    endpoint(receiver.script("/hang", answers.hang), "hang", timeout_seconds=5, events=["agent.started"])
    endpoint(receiver.url("/ok"), "ok", events=["agent.lost"])
    record_event("agent.started")
    running = InBackground()
    wait_for(lambda: receiver.at("/hang"))
    record_event("agent.lost")
    wait_for(lambda: receiver.at("/ok"))
    assert not WebhookAttempt.objects.filter(delivery__endpoint__name="hang").exists(), (
        "it did not wait for the hanging one"
    )
    running.join()


def test_a_job_at_its_time_limit_hands_over_and_finishes_its_requests(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job, "CLAIM_SECONDS", 0.5)
    endpoint(
        receiver.script("/hang", answers.hang), timeout_seconds=4, max_concurrency=2, events=["agent.started"]
    )
    endpoint(receiver.url("/ok"), "ok", events=["agent.lost"])
    for _ in range(3):
        record_event("agent.started")
    first = InBackground()
    wait_for(lambda: JobTicket.objects.filter(holder="", queued_at=None).exists())
    assert len(receiver.at("/hang")) == 2
    record_event("agent.lost")
    begun = time.monotonic()
    send()
    assert receiver.at("/ok")[0].at - begun < 2
    assert len(receiver.at("/hang")) == 2, "the first job used the whole concurrency"
    first.join()
    hung = WebhookDelivery.objects.filter(endpoint__name="ops", attempt_count=1)
    assert [attempts(row)[0][3] for row in hung] == ["timeout", "timeout"]


def test_results_during_a_database_lock_are_recorded_afterwards(receiver: Receiver) -> None:
    endpoint(receiver.url())
    with other_connection() as other:

        async def lock_and_answer(request: Any) -> Any:
            other.lock()
            threading.Timer(3, other.unlock).start()
            return await answers.status(200)(request)

        receiver.scripts["/ok"] = [lock_and_answer]
        record_event("agent.started")
        send()
    assert (only_delivery().state, attempts(only_delivery())) == ("delivered", [(1, "event", 200, "")])


def test_results_survive_a_temporary_database_error(receiver: Receiver) -> None:
    endpoint(receiver.url())
    with other_connection() as other:

        async def away(request: Any) -> Any:
            await asyncio.to_thread(other.rename, "webhooks_webhookattempt", "away")
            threading.Timer(1, other.rename, ["away", "webhooks_webhookattempt"]).start()
            return await answers.status(200)(request)

        receiver.scripts["/ok"] = [away]
        record_event("agent.started")
        send()
    assert only_delivery().state == "delivered"
    assert len(receiver.received) == 1


def test_two_jobs_side_by_side_send_everything_once(receiver: Receiver) -> None:
    for number in range(4):
        endpoint(receiver.url(f"/{number}"), f"e{number}", max_concurrency=10)
    for _ in range(50):
        record_event("agent.started")
    jobs = [InBackground() for _ in range(3)]
    for running in jobs:
        running.join()
    send()
    ids = [one.id for one in receiver.received]
    assert len(ids) == len(set(ids)) == 200
    assert WebhookDelivery.objects.filter(state="delivered").count() == 200


def test_ten_hanging_endpoints_do_not_delay_ten_others(receiver: Receiver) -> None:
    is_over = threading.Event()

    async def hang(request: Any) -> Any:
        while not is_over.is_set():
            await asyncio.sleep(0.05)
        return await answers.status(200)(request)

    for number in range(10):
        endpoint(receiver.script(f"/hang{number}", hang), f"hang{number}", timeout_seconds=30)
        endpoint(receiver.url(f"/ok{number}"), f"ok{number}")
    for _ in range(5):
        record_event("agent.started")
    running = InBackground()
    try:
        healthy = WebhookDelivery.objects.filter(endpoint__name__startswith="ok", state="delivered")
        wait_for(lambda: healthy.count() == 50, 60)
        assert not WebhookDelivery.objects.filter(endpoint__name__startswith="hang", state="delivered").exists()
    finally:
        is_over.set()
        running.join()


def test_timeouts_open_the_circuit(receiver: Receiver) -> None:
    row = endpoint(receiver.script("/hang", answers.hang), timeout_seconds=1, max_concurrency=5)
    for _ in range(12):
        record_event("agent.started")
    send()
    row.refresh_from_db()
    assert row.connect_failures >= 5
    assert len(receiver.received) < 12


def run_in_process_that_crashes_on(type_: str) -> int | None:
    """Runs the job in a process that SIGKILLs itself when it renders an event of that type."""

    def work() -> None:
        render = Standard.render

        def deadly(self: Standard, body: Any, url: str, settings: Any) -> Any:
            if body["type"] == type_:
                os.kill(os.getpid(), signal.SIGKILL)
            return render(self, body, url, settings)

        Standard.render = deadly  # type: ignore[method-assign]
        send()
        send("suspect")

    connections.close_all()
    child = multiprocessing.get_context("fork").Process(target=work)
    child.start()
    child.join(30)
    return child.exitcode


def test_a_delivery_that_crashes_its_worker_affects_no_other(receiver: Receiver) -> None:
    endpoint(receiver.url(), max_concurrency=10)
    for type_ in ("agent.started", "program.crashed", "agent.lost"):
        record_event(type_)
    codes = []
    for _ in range(4):
        codes.append(run_in_process_that_crashes_on("program.crashed"))
        pass_time(30)
    assert codes == [-signal.SIGKILL] * 3 + [0]
    states = dict(WebhookDelivery.objects.values_list("event__type", "state"))
    assert states == {"agent.started": "delivered", "program.crashed": "dead", "agent.lost": "delivered"}
    assert "program.crashed" not in {one.json["type"] for one in receiver.received}
