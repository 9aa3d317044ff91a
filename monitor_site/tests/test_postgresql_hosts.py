"""Three hosts on one PostgreSQL, of which one is cut off or frozen in the middle of a transaction."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from django.conf import settings

from core.tests.network import MAY_MAKE_HOSTS, Network, inside
from core.tests.servers import postgresql, programs_of_postgresql

pytestmark = pytest.mark.skipif(
    "CI" not in os.environ and not (MAY_MAKE_HOSTS and programs_of_postgresql()),
    reason="needs root, ip and PostgreSQL",
)


class Client:
    """Speaks with `run_database_client` on a host."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process

    def send(self, *words: object) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(" ".join(map(str, words)) + "\n")
        self.process.stdin.flush()

    def answer(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def ask(self, *words: object) -> str:
        self.send(*words)
        return self.answer()


@pytest.fixture(scope="module")
def network() -> Iterator[Network]:
    with Network(3) as network:
        yield network


@pytest.fixture
def cut(network: Network) -> Iterator[Network]:
    """Host 0 can be reached again after the test."""
    yield network
    network.mend(0)


@pytest.fixture(scope="module")
def database(network: Network, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL for host 0; that of the others has their address of the server."""
    with postgresql("10.78.0.1", inside(network.server)) as url:
        command = [*inside(network.hosts[0]), sys.executable, "manage.py", "migrate", "--verbosity=0"]
        environment = _environment(url, "migrating", tmp_path_factory.mktemp("migrating"))
        subprocess.run(command, cwd=settings.BASE_DIR, env=environment, check=True)
        yield url


def _environment(url: str, name: str, folder: Path) -> dict[str, str]:
    given = {"DATABASE_URL": url, "HOST_NAME": name, "DATA_DIR": str(folder), "MONITOR_APPS": "lean"}
    return os.environ | given | {"DJANGO_SETTINGS_MODULE": "monitor_site.settings"}


@pytest.fixture
def hosts(network: Network, database: str, tmp_path: Path) -> Iterator[list[Client]]:
    with ExitStack() as stack:
        clients = []
        for number, host in enumerate(network.hosts):
            folder = tmp_path / str(number)
            folder.mkdir(mode=0o700)
            url = database.replace("10.78.0.1", f"10.78.{number}.1")
            process = subprocess.Popen(
                [*inside(host), sys.executable, "-m", "monitor_site.tests.run_database_client"],
                cwd=settings.BASE_DIR,
                env=_environment(url, f"host{number}", folder),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            stack.callback(process.wait)
            stack.callback(process.kill)
            clients.append(Client(process))
        for client in clients:
            assert client.ask("define") in {"done", "failed"}  # there already, since an earlier test
            client.send("work", "queue", 1)  # creates the row of the queue, which tests expect to be there
            assert client.answer() == "0"
        yield clients


@pytest.mark.parametrize("kind", ["agent", "request", "sender", "queue"])
def test_others_go_on_while_a_host_is_cut_off_in_a_transaction(
    hosts: list[Client], cut: Network, kind: str
) -> None:
    """The server does not even notice: it is the locks that do not matter."""
    assert hosts[0].ask("hold", kind, 0) == "holding"
    cut.cut(0)
    for host in hosts[1:]:
        host.send("work", "agent,request,definition,queue", 10)
    assert [host.answer() for host in hosts[1:]] == ["1", "1"]
    cut.mend(0)
    assert hosts[0].ask("commit") == "committed"
    first, *others = [int(hosts[1].ask("last_number", f"host{number}")) for number in range(3)]
    assert first > max(others)


def test_definitions_wait_for_a_host_that_is_cut_off_until_the_server_ends_its_session(
    hosts: list[Client], cut: Network
) -> None:
    assert hosts[0].ask("hold", "definition", 2) == "holding"
    cut.cut(0)
    hosts[1].send("work", "agent,request,queue,sender", 5)
    hosts[2].send("work", "definition", 1)
    assert hosts[1].answer() in {"0", "1"}
    assert hosts[2].answer() == "0"
    cut.mend(0)
    assert hosts[0].ask("commit") == "outage"


def test_a_frozen_process_loses_its_transaction_and_may_try_again(hosts: list[Client]) -> None:
    assert hosts[0].ask("hold", "definition", 1) == "holding"
    os.kill(hosts[0].process.pid, signal.SIGSTOP)
    try:
        deadline = time.monotonic() + 60
        while hosts[1].ask("open_there") != "0":
            assert time.monotonic() < deadline, "the session was never ended"
            time.sleep(0.1)
        assert hosts[1].ask("work", "definition", 1) == "0"
    finally:
        os.kill(hosts[0].process.pid, signal.SIGCONT)
    assert hosts[0].ask("commit") == "outage"
    assert hosts[0].ask("work", "agent,request,definition,sender", 1) == "0"
