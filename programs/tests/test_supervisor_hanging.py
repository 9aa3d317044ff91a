"""A name server or a network folder that does not respond delays what needs it, and nothing else."""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from programs.models import Program
from programs.states import Action

from .actors import AgentBox, ask, define, wait_event, wait_state
from .stuck_folder import stuck

SLEEP = "sleep 1000"
SECONDS = 4.0  # a look-up that nobody answers takes ten

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 and "CI" not in os.environ, reason="a name server and a folder of one's own take root"
)


def seconds_of_a_restart(program: Program) -> float:
    before = wait_state(program, "running").restarts
    begun = time.monotonic()
    ask(program, Action.RESTART)
    wait_event(program, "program.restarted", before + 1)
    return time.monotonic() - begun


@contextlib.contextmanager
def silent_name_server(folder: Path) -> Iterator[list[str]]:
    """The words that start an agent which asks it, and nobody else, for names."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.53", 53))
        file = folder / "resolv.conf"
        file.write_text("nameserver 127.0.0.53\n")
        yield ["unshare", "-m", "sh", "-c", 'mount --bind "$0" /etc/resolv.conf && exec "$@"', str(file)]


def test_names_that_are_not_resolved_delay_no_restart_and_no_shutdown(box: AgentBox, tmp_path: Path) -> None:
    with silent_name_server(tmp_path) as words:
        box.start(under=words)
        web = define("web", SLEEP)
        targets = [f"name{number}.example:80" for number in range(24)]
        probe = {"kind": "tcp", "purpose": "readiness", "period": 1, "timeout": 1, "failures": 3}
        probed = define("probed", SLEEP, probes=[{**probe, "target": target} for target in targets])
        wait_event(probed, "program.unhealthy")
        assert seconds_of_a_restart(web) < SECONDS
        begun = time.monotonic()
        assert box.stop() == 0
        assert time.monotonic() - begun < SECONDS


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """What will be stuck, with what programs need while it is not."""
    folder = tmp_path / "nas"
    folder.mkdir()
    (tmp_path / "link").symlink_to(folder)
    (folder / "server").symlink_to("/bin/sleep")
    return folder


def test_a_folder_that_does_not_respond_delays_no_other_restart(agent: AgentBox, folder: Path) -> None:
    web = define("web", SLEEP)
    rules = {"autostart": False, "max_restarts": 0, "backoff_max": 1}
    programs = [
        define("inside", SLEEP, working_directory=str(folder), **rules),
        define("linked", SLEEP, working_directory=str(folder.parent / "link"), **rules),
        define("kept there", f"{folder}/server 1000", **rules),
    ]
    with stuck(folder):
        for program in programs:
            ask(program, Action.START)
            assert f"{folder} does not answer" in wait_state(program, "backoff").reason
        assert seconds_of_a_restart(web) < SECONDS
    for program in programs:
        wait_state(program, "running")


def test_the_agent_stops_while_the_folder_of_a_program_does_not_respond(agent: AgentBox, folder: Path) -> None:
    program = define("web", SLEEP, working_directory=str(folder), autostart=False)
    with stuck(folder):
        ask(program, Action.START)
        wait_state(program, "backoff")
        begun = time.monotonic()
        assert agent.stop() == 0
        assert time.monotonic() - begun < SECONDS


def test_probes_and_stop_commands_that_hang_there_delay_no_other_restart(agent: AgentBox, folder: Path) -> None:
    web = define("web", SLEEP)
    probe = {"kind": "exec", "purpose": "readiness", "period": 1, "timeout": 1, "failures": 1}
    probes = [{**probe, "target": target} for target in (f"stat {folder}", f"{folder}/server 0")]
    ladder = [{"step": f"command:stat {folder}", "seconds": 1}, {"step": "signal:TERM", "seconds": 10}]
    probed = define("probed", SLEEP, probes=probes, stop_ladder=ladder)
    wait_event(probed, "program.healthy")
    with stuck(folder):
        wait_event(probed, "program.unhealthy")
        assert seconds_of_a_restart(web) < SECONDS
        ask(probed, Action.STOP)
        wait_state(probed, "stopping")
        assert seconds_of_a_restart(web) < SECONDS
        wait_state(probed, "stopped")
