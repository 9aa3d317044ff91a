"""Agent, jobs and a writer of events are killed at random: every event arrives, always with the same id."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from django.db import connection

from programs.models import ProgramEvent
from programs.states import Verb
from programs.tests.actors import MANAGE, AgentBox, ask, define, end, end_all, wait_for, wait_state
from webhooks.models import WebhookDelivery

from .receiver import Receiver
from .rig import endpoint, happen

KILLS = int(os.environ.get("KILLS", "3"))  # of each process
EVENTS = int(os.environ.get("KILLS_EVENTS", "60"))  # by the writer, besides those of the agent
SECONDS = 120 + 4 * KILLS
MARK = "MONITOR_TEST_FOLDER"
CLUSTER = 6  # main process, sentinel, two workers, two helpers
WRITER = """
import django, itertools, os, time
django.setup()
from django.db import transaction
from programs import events
for number in itertools.count():
    with transaction.atomic():
        events.record("agent.lost", data={"number": number, "pid": os.getpid()})
    time.sleep(0.02)
"""


class Stack:
    """The processes of an installation on the test's database, each of which can be killed and started again."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.agent = AgentBox(folder)
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.environment = {
            **os.environ,
            "DATA_DIR": str(folder),
            "DATABASE_URL": f"sqlite:///{connection.settings_dict['NAME']}",
            "DJANGO_SETTINGS_MODULE": "monitor_site.settings",
            "MONITOR_APPS": "lean",
            MARK: str(folder),
        }

    def start(self, name: str) -> None:
        if name == "agent":
            self.agents = started_agents()
            self.agent.start(wait=False)
            return
        arguments = [str(MANAGE), name] if name == "jobs" else ["-c", WRITER]
        with (self.folder / f"{name}.out").open("ab") as output:
            self.processes[name] = subprocess.Popen(
                [sys.executable, *arguments], env=self.environment, cwd=MANAGE.parent, stdout=output, stderr=output
            )

    def is_at_work(self, name: str) -> bool:
        """Whether it has come so far that killing it interrupts something."""
        if name == "agent":
            return started_agents() > self.agents
        pid = self.processes[name].pid
        if name == "writer":
            return ProgramEvent.objects.filter(type="agent.lost", data__pid=pid).exists()
        return len(psutil.Process(pid).children(recursive=True)) >= CLUSTER

    def kill(self, name: str) -> None:
        """SIGKILL, for jobs to any one of its processes: guard, cluster, or a worker in the middle of sending."""
        if name == "agent":
            self.agent.kill()
            return
        victim = psutil.Process(self.processes[name].pid)
        if name == "jobs":
            victim = random.choice([victim, *victim.children(recursive=True)])
        end(victim)
        if victim.pid == self.processes[name].pid:
            self.processes[name].wait()

    def renew_jobs(self) -> None:
        """A cluster that stands still since one of its workers was killed heals by itself, but takes its time."""
        self.processes["jobs"].kill()
        self.processes["jobs"].wait()
        self.start("jobs")

    def revive(self) -> None:
        for name, process in list(self.processes.items()):
            if process.poll() is not None:
                self.start(name)
        if self.agent.process and self.agent.process.poll() is not None:
            self.start("agent")

    def logs(self) -> str:
        return "".join(path.read_text() for path in sorted(self.folder.glob("*.out")))

    def end(self) -> None:
        self.agent.clean_up()
        end_all(lambda: [process for process in psutil.process_iter() if self._is_ours(process)])
        for started in self.processes.values():
            started.wait()

    def _is_ours(self, process: psutil.Process) -> bool:
        try:
            is_marked = process.environ().get(MARK) == str(self.folder)
            return is_marked and process.status() != psutil.STATUS_ZOMBIE
        except psutil.Error:
            return False


def started_agents() -> int:
    return ProgramEvent.objects.filter(type="agent.started").count()


@pytest.fixture
def stack(outbox: None, tmp_path: Path) -> Iterator[Stack]:
    stack = Stack(tmp_path)
    yield stack
    stack.end()


def all_delivered() -> bool:
    return not WebhookDelivery.objects.exclude(state="delivered").exists()


def explain(stack: Stack) -> str:
    rows = WebhookDelivery.objects.exclude(state="delivered").values()[:5]
    return f"deliveries; left are {list(rows)}; {stack.logs()[-3000:]}"


def test_every_event_arrives_though_agent_jobs_and_writer_are_killed_at_random(
    stack: Stack, receiver: Receiver
) -> None:
    endpoint(receiver.url(), max_concurrency=10, timeout_seconds=1)
    for name in ("agent", "jobs", "writer"):
        stack.start(name)
    bad = define("bad", "sh -c 'exit 1'", backoff_initial=0.2, backoff_max=0.3, max_restarts=0)
    wait_for(lambda: receiver.received, "the first delivery", SECONDS)
    victims = random.sample(["agent", "jobs", "writer"] * KILLS, 3 * KILLS)
    for victim in victims:
        wait_for(lambda: stack.is_at_work(victim), victim, 60)  # noqa: B023  (used at once)
        time.sleep(random.uniform(0, 0.5))
        stack.kill(victim)
        stack.revive()
    stack.renew_jobs()
    wait_for(lambda: ProgramEvent.objects.count() >= EVENTS, "events", SECONDS)
    stack.kill("writer")
    ask(bad, Verb.STOP)
    wait_state(bad, "stopped")
    wait_for(all_delivered, explain(stack), SECONDS)
    stack.end()

    sent = dict(WebhookDelivery.objects.values_list("event__uid", "pk"))
    assert set(sent) == set(ProgramEvent.objects.values_list("uid", flat=True))
    got = {(one.json["id"], one.id) for one in receiver.received}
    assert got >= set(sent.items()), "each event came"
    assert len({event for event, _ in got}) == len(got), "and always with the same id"
    repeated = sum(Counter(one.id for one in receiver.received).values()) - len(got)
    assert repeated <= 10 * 3 * KILLS
    assert "database is locked" not in stack.logs()
    print(f"{3 * KILLS} kills, {len(sent)} events, {len(receiver.received)} received, {repeated} of them again")


def test_a_sender_killed_in_the_middle_loses_nothing_and_repeats_only_what_was_under_way(
    stack: Stack, receiver: Receiver
) -> None:
    endpoint(receiver.url(), max_concurrency=4, timeout_seconds=1, rate_per_second=20)
    for _ in range(40):
        happen("agent.lost")
    stack.start("agent")
    stack.start("jobs")
    wait_for(lambda: len(receiver.received) >= 5, "the first deliveries", SECONDS)
    guard = psutil.Process(stack.processes["jobs"].pid)
    for process in guard.children(recursive=True):
        end(process)
    wait_for(all_delivered, explain(stack), 90)
    counts = Counter(one.id for one in receiver.received if one.json["type"] == "agent.lost")
    assert len(counts) == 40
    assert sum(counts.values()) - 40 <= 4, "no more than was under way came twice"
