"""Rings through Redis when the network between two hosts drops every packet. The hosts are network namespaces."""

from __future__ import annotations

import contextlib
import os
import queue
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from django.conf import settings
from pytest_django import Settings

from core.doorbell import redis_channel
from core.doorbell.redis_channel import Publisher

from .http_server import free_port
from .servers import redis_server

pytestmark = pytest.mark.skipif(
    "CI" not in os.environ and (os.geteuid() != 0 or not all(map(shutil.which, ("redis-server", "ip")))),
    reason="needs root, ip and redis-server",
)
# MONITOR_TEST_CUT_SECONDS=180 for the long run.
CUT_SECONDS = float(os.environ.get("MONITOR_TEST_CUT_SECONDS", "20"))
MAX_GROWTH_BYTES = 20_000_000


class TwoHosts:
    """A host that listens and a host with Redis, joined by a virtual cable."""

    def __init__(self, number: int) -> None:
        self.near, self.far = f"monitor-near-{number}", f"monitor-far-{number}"
        self.near_address, self.far_address = "10.77.0.1", "10.77.0.2"

    def __enter__(self) -> TwoHosts:
        for host in (self.near, self.far):
            self._ip("netns", "add", host)
        cable = [
            "link",
            "add",
            "eth0",
            "netns",
            self.near,
            "type",
            "veth",
            "peer",
            "name",
            "eth0",
            "netns",
            self.far,
        ]
        self._ip(*cable)
        for host, address in ((self.near, self.near_address), (self.far, self.far_address)):
            self._ip("-n", host, "address", "add", f"{address}/24", "dev", "eth0")
            self._ip("-n", host, "link", "set", "eth0", "up")
            self._ip("-n", host, "link", "set", "lo", "up")
        return self

    def __exit__(self, *_: object) -> None:
        for host in (self.near, self.far):
            self._ip("netns", "del", host)

    def cut(self) -> None:
        """The far host drops its answers, so the near host sees silence and no refusal."""
        self._ip("-n", self.far, "route", "add", "blackhole", f"{self.near_address}/32")

    def mend(self) -> None:
        self._ip("-n", self.far, "route", "del", "blackhole", f"{self.near_address}/32")

    def on(self, host: str, *command: str) -> list[str]:
        return ["ip", "netns", "exec", host, *command]

    def _ip(self, *arguments: str) -> None:
        subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True)


class Listeners:
    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.rings: queue.Queue[str] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.rings.put(line.strip())

    def heard(self, names: set[str], seconds: float = 30.0) -> None:
        deadline = time.monotonic() + seconds
        while names:
            names = names - {self.rings.get(timeout=max(0.1, deadline - time.monotonic()))}

    def forget(self) -> None:
        with contextlib.suppress(queue.Empty):
            while True:
                self.rings.get_nowait()

    @property
    def usage(self) -> tuple[int, float]:
        """Resident bytes and CPU seconds."""
        process = psutil.Process(self.process.pid)
        times = process.cpu_times()
        return process.memory_info().rss, times.user + times.system


@pytest.fixture
def hosts() -> Iterator[TwoHosts]:
    with TwoHosts(os.getpid()) as made:
        yield made


@pytest.fixture
def listeners(hosts: TwoHosts, tmp_path: Path) -> Iterator[Listeners]:
    redis_arguments = ["redis-server", "--bind", hosts.far_address, "--protected-mode", "no", "--save", ""]
    environment = {**os.environ, "REDIS_URL": f"redis://{hosts.far_address}:6379/0", "DATA_DIR": str(tmp_path)}
    environment["DJANGO_SETTINGS_MODULE"] = "monitor_site.settings"
    listen = hosts.on(hosts.near, sys.executable, "-m", "core.tests.run_doorbell_listeners")
    with (
        subprocess.Popen(hosts.on(hosts.far, *redis_arguments), cwd=tmp_path, stdout=subprocess.DEVNULL) as server,
        subprocess.Popen(
            listen, cwd=settings.BASE_DIR, env=environment, stdout=subprocess.PIPE, text=True
        ) as near,
    ):
        try:
            yield Listeners(near)
        finally:
            near.kill()
            server.kill()


def ring(hosts: TwoHosts, name: str) -> None:
    publish = ["redis-cli", "-h", hosts.far_address, "publish", f"monitor:bell:{name}", "!"]
    subprocess.run(hosts.on(hosts.far, *publish), check=True, capture_output=True)


def test_listeners_survive_a_network_that_drops_every_packet(hosts: TwoHosts, listeners: Listeners) -> None:
    listeners.heard({"agent", "jobs"})  # both report once when they are connected
    memory, cpu = listeners.usage
    hosts.cut()
    worst, end = memory, time.monotonic() + CUT_SECONDS
    while time.monotonic() < end:
        time.sleep(0.5)
        worst = max(worst, listeners.usage[0])
    used = listeners.usage[1] - cpu
    hosts.mend()
    listeners.heard({"agent", "jobs"})
    time.sleep(0.2)
    listeners.forget()
    ring(hosts, "agent")
    ring(hosts, "jobs")
    listeners.heard({"agent", "jobs"}, seconds=5)
    assert worst - memory < MAX_GROWTH_BYTES
    assert used < CUT_SECONDS / 10


def test_ringing_does_not_wait_for_a_redis_that_is_gone(settings: Settings) -> None:
    settings.REDIS_URL = f"redis://127.0.0.1:{free_port()}/0"
    publisher = Publisher()
    for _ in range(100):
        publisher.ring("agent")
    assert publisher.flush(timeout=10)


def test_a_ring_reaches_a_listener_that_blocks(settings: Settings) -> None:
    with redis_server() as url:
        settings.REDIS_URL = url
        listener, publisher = redis_channel.Subscription("jobs"), Publisher()
        publisher.ring("jobs")
        deadline = time.monotonic() + 10
        while not listener.wait(0.5):
            assert time.monotonic() < deadline, "the ring never came"
