from __future__ import annotations

import subprocess
from collections.abc import Iterator

import pytest
from django.test import Client
from django.utils import timezone

from programs.admin.adoption import suggested_name
from programs.adoption import Candidate
from programs.models import Host, Intent, Program

from .conftest import LIST, MakeProgram

PAGE = LIST + "adopt/"


@pytest.fixture
def stray() -> Iterator[subprocess.Popen[bytes]]:
    """A process that is not supervised."""
    with subprocess.Popen(["/bin/sh", "-c", "exec sleep 4321"], start_new_session=True) as process:
        yield process
        process.kill()


def candidate(command: str) -> Candidate:
    return Candidate(1, "root", command, "/", timezone.now(), 0)


@pytest.mark.parametrize(
    ("command", "name"),
    [
        ("/usr/bin/redis-server *:6379", "redis-server"),
        ("python3 -u /srv/bot.py --shard 0", "bot"),
        ("node server.js", "server"),
        ("nginx: master process 'unclosed", "nginx:"),
        ("-bash", "1"),
        ("java -jar", "java"),
    ],
)
def test_it_suggests_a_name(command: str, name: str) -> None:
    assert suggested_name(candidate(command)) == name


def test_an_adopted_process_keeps_running(admin: Client, host: Host, stray: subprocess.Popen[bytes]) -> None:
    page = admin.get(f"{PAGE}{stray.pid}/").content.decode()
    assert "sleep 4321" in page
    answer = admin.post(f"{PAGE}{stray.pid}/", {"name": "sleeper", "restart_policy": "always"})
    made = Program.objects.get()
    assert answer.headers["Location"] == f"{LIST}{made.pk}/change/"
    assert (made.name, made.restart_policy, made.command.endswith("sleep 4321")) == ("sleeper", "always", True)
    assert Intent.objects.get().data["pid"] == stray.pid
    assert stray.poll() is None


def test_an_invalid_name_is_reported_and_creates_nothing(
    admin: Client, program: MakeProgram, stray: subprocess.Popen[bytes]
) -> None:
    program("web")
    page = admin.post(f"{PAGE}{stray.pid}/", {"name": "a/b", "restart_policy": "never"}).content.decode()
    assert "slash" in page
    page = admin.post(f"{PAGE}{stray.pid}/", {"name": "web", "restart_policy": "never"}).content.decode()
    assert "already a program with this name" in page
    assert Program.objects.count() == 1


def test_the_list_can_be_searched(admin: Client, host: Host, stray: subprocess.Popen[bytes]) -> None:
    def found(query: str) -> set[int]:
        return {one.pid for one, _memory in admin.get(PAGE, {"q": query}).context["candidates"]}

    assert found("SLEEP 4321") == {stray.pid}
    assert found("no such process anywhere") == set()


def test_an_exited_process_is_not_found(admin: Client, host: Host) -> None:
    assert admin.get(f"{PAGE}999999999/").status_code == 404


def test_only_administrators_see_command_lines(
    operator: Client, viewer: Client, stray: subprocess.Popen[bytes]
) -> None:
    for client in (operator, viewer):
        assert client.get(PAGE).status_code == 403
        assert client.post(f"{PAGE}{stray.pid}/", {"name": "x", "restart_policy": "never"}).status_code == 403
    assert not Program.objects.exists()
