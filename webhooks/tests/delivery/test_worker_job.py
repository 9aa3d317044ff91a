"""The job as a whole: handing over, lost databases, sharing the work, and the sign of life."""

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
from django.utils import timezone

from core.key_rotation import re_encrypt_all
from core.models import Heartbeat
from core.secrets import decrypt
from core.tests.databases import other_connection
from programs import hosts
from webhooks import tasks
from webhooks.delivery import worker as job
from webhooks.models import JobTicket, WebhookAttempt, WebhookDelivery, WebhookEndpoint
from webhooks.tests import receiver as answers
from webhooks.tests.receiver import Receiver
from webhooks.tests.rig import attempts, endpoint, happen, only_delivery, pass_time, send
from webhooks.transports.standard.transport import Standard

pytestmark = pytest.mark.usefixtures("outbox")


class InBackground:
    """The job in a thread of its own, as it runs in a worker."""

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


def test_what_happens_while_it_works_is_sent_by_the_same_job(receiver: Receiver) -> None:
    endpoint(receiver.script("/hang", answers.hang), "hang", timeout_seconds=5, events=["agent.started"])
    endpoint(receiver.url("/ok"), "ok", events=["agent.lost"])
    happen("agent.started")
    running = InBackground()
    wait_for(lambda: receiver.at("/hang"))
    happen("agent.lost")
    wait_for(lambda: receiver.at("/ok"))
    assert not WebhookAttempt.objects.filter(delivery__endpoint__name="hang").exists(), "it waited for nobody"
    running.join()


def test_a_job_whose_time_is_up_hands_over_and_finishes_what_is_under_way(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job, "CLAIM_SECONDS", 0.5)
    endpoint(
        receiver.script("/hang", answers.hang), timeout_seconds=4, max_concurrency=2, events=["agent.started"]
    )
    endpoint(receiver.url("/ok"), "ok", events=["agent.lost"])
    for _ in range(3):
        happen("agent.started")
    first = InBackground()
    wait_for(lambda: JobTicket.objects.filter(holder="", queued_at=None).exists())
    assert len(receiver.at("/hang")) == 2
    happen("agent.lost")
    begun = time.monotonic()
    send()
    assert receiver.at("/ok")[0].at - begun < 2
    assert len(receiver.at("/hang")) == 2, "both places were taken by the first job"
    first.join()
    hung = WebhookDelivery.objects.filter(endpoint__name="ops", attempt_count=1)
    assert [attempts(row)[0][3] for row in hung] == ["timeout", "timeout"]


def test_answers_that_come_while_the_database_is_locked_are_written_afterwards(receiver: Receiver) -> None:
    endpoint(receiver.url())
    with other_connection() as other:

        async def lock_and_answer(request: Any) -> Any:
            other.lock()
            threading.Timer(3, other.unlock).start()
            return await answers.status(200)(request)

        receiver.scripts["/ok"] = [lock_and_answer]
        happen("agent.started")
        send()
    assert (only_delivery().state, attempts(only_delivery())) == ("delivered", [(1, "event", 200, "")])


def test_answers_survive_a_table_that_is_gone_for_a_while(receiver: Receiver) -> None:
    endpoint(receiver.url())
    with other_connection() as other:

        async def away(request: Any) -> Any:
            await asyncio.to_thread(other.rename, "webhooks_webhookattempt", "away")
            threading.Timer(1, other.rename, ["away", "webhooks_webhookattempt"]).start()
            return await answers.status(200)(request)

        receiver.scripts["/ok"] = [away]
        happen("agent.started")
        send()
    assert only_delivery().state == "delivered"
    assert len(receiver.received) == 1


def test_two_jobs_side_by_side_send_everything_once(receiver: Receiver) -> None:
    for number in range(4):
        endpoint(receiver.url(f"/{number}"), f"e{number}", max_concurrency=10)
    for _ in range(50):
        happen("agent.started")
    jobs = [InBackground() for _ in range(3)]
    for running in jobs:
        running.join()
    send()
    ids = [one.id for one in receiver.received]
    assert len(ids) == len(set(ids)) == 200
    assert WebhookDelivery.objects.filter(state="delivered").count() == 200


def test_ten_of_twenty_that_hang_do_not_slow_the_others(receiver: Receiver) -> None:
    is_over = threading.Event()

    async def hang(request: Any) -> Any:
        while not is_over.is_set():
            await asyncio.sleep(0.05)
        return await answers.status(200)(request)

    for number in range(10):
        endpoint(receiver.script(f"/hang{number}", hang), f"hang{number}", timeout_seconds=30)
        endpoint(receiver.url(f"/ok{number}"), f"ok{number}")
    for _ in range(5):
        happen("agent.started")
    running = InBackground()
    try:
        healthy = WebhookDelivery.objects.filter(endpoint__name__startswith="ok", state="delivered")
        wait_for(lambda: healthy.count() == 50, 60)
        assert not WebhookDelivery.objects.filter(endpoint__name__startswith="hang", state="delivered").exists()
    finally:
        is_over.set()
        running.join()


def test_an_endpoint_that_never_answers_is_soon_left_alone(receiver: Receiver) -> None:
    row = endpoint(receiver.script("/hang", answers.hang), timeout_seconds=1, max_concurrency=5)
    for _ in range(12):
        happen("agent.started")
    send()
    row.refresh_from_db()
    assert row.connect_failures >= 5
    assert len(receiver.received) < 12


def test_new_keys_encrypt_every_secret_of_an_endpoint_anew(receiver: Receiver) -> None:
    row = endpoint(receiver.url())
    from core import key_rotation

    before = WebhookEndpoint.objects.values("encrypted_url", "encrypted_secret", "revision").get()
    key_rotation.add_key()
    (tally,) = [tally for tally in re_encrypt_all() if "webhook" in tally.name]
    key_rotation.keep_newest_key()
    after = WebhookEndpoint.objects.values("encrypted_url", "encrypted_secret", "revision").get()
    assert (tally.seen, tally.changed) == (2, 2)
    assert after["encrypted_url"] != before["encrypted_url"] and after["revision"] > before["revision"]
    assert decrypt(after["encrypted_url"]) == receiver.url()
    row.refresh_from_db()
    happen("agent.started")
    send()
    assert len(receiver.received) == 1


@pytest.mark.parametrize(
    ("agent_writes", "code", "noted"), [(True, 200, True), (True, 500, False), (False, 200, False)]
)
def test_the_sign_of_life_comes_only_while_all_is_well(
    receiver: Receiver, settings: Any, agent_writes: bool, code: int, noted: bool
) -> None:
    settings.DEADMAN_URL = receiver.script("/ping", code)
    host = hosts.this_host()
    host.heartbeat_at = timezone.now() if agent_writes else None
    host.save()
    tasks.deadman()
    assert len(receiver.received) == agent_writes
    assert Heartbeat.objects.filter(name="deadman").exists() is noted


def test_a_sign_of_life_into_the_void_is_only_a_warning(settings: Any) -> None:
    settings.DEADMAN_URL = "http://127.0.0.1:9/ping"
    host = hosts.this_host()
    host.heartbeat_at = timezone.now()
    host.save()
    tasks.deadman()
    assert not Heartbeat.objects.filter(name="deadman").exists()


def run_in_child_that_dies_of(type_: str) -> int | None:
    """The job in a process of its own, which SIGKILLs itself when it renders an event of that type."""

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


def test_a_delivery_that_kills_its_sender_takes_no_other_with_it(receiver: Receiver) -> None:
    endpoint(receiver.url(), max_concurrency=10)
    for type_ in ("agent.started", "program.crashed", "agent.lost"):
        happen(type_)
    codes = []
    for _ in range(4):
        codes.append(run_in_child_that_dies_of("program.crashed"))
        pass_time(30)
    assert codes == [-signal.SIGKILL] * 3 + [0]
    states = dict(WebhookDelivery.objects.values_list("event__type", "state"))
    assert states == {"agent.started": "delivered", "program.crashed": "dead", "agent.lost": "delivered"}
    assert "program.crashed" not in {one.json["type"] for one in receiver.received}
