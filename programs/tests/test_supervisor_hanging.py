"""A name server that is silent and a folder whose server is gone hold up what asked for them, and nothing else."""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from programs.models import Program
from programs.states import Verb

from .actors import AgentBox, ask, define, wait_event, wait_state

SLEEP = "sleep 1000"
SECONDS = 4.0  # a look-up that nobody answers takes ten

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 and "CI" not in os.environ, reason="a name server and a folder of one's own take root"
)


def seconds_of_a_restart(program: Program) -> float:
    before = wait_state(program, "running").restarts
    begun = time.monotonic()
    ask(program, Verb.RESTART)
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


def test_names_that_nobody_answers_for_delay_no_restart_and_no_end(box: AgentBox, tmp_path: Path) -> None:
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
