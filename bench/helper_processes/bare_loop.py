"""The simplest process manager: an asyncio loop that restarts a program when its pidfd reports the exit.

usage: bare_loop.py DIRECTORY. `{"do": "define", "programs": …}` on standard input defines the programs,
`{"do": "start"}` starts them.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path


class BareLoop:
    def __init__(self, directory: Path, loop: asyncio.AbstractEventLoop) -> None:
        self.directory = directory
        self.loop = loop
        self.programs: dict[str, list[str]] = {}
        self.running: dict[str, subprocess.Popen[bytes]] = {}

    def spawn(self, name: str) -> None:
        log = os.open(self.directory / f"{name}.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        self.running[name] = subprocess.Popen(
            self.programs[name], stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )
        os.close(log)
        pidfd = os.pidfd_open(self.running[name].pid)
        self.loop.add_reader(pidfd, self.restart, name, pidfd)

    def restart(self, name: str, pidfd: int) -> None:
        self.loop.remove_reader(pidfd)
        os.close(pidfd)
        self.running[name].wait()
        self.spawn(name)

    def define(self, programs: dict[str, list[str]]) -> None:
        self.programs = programs

    def start(self) -> None:
        for name in self.programs:
            self.spawn(name)

    def read_request(self) -> None:
        request = json.loads(sys.stdin.readline() or "null")
        if request is None:
            self.loop.stop()
            return
        commands: dict[str, Callable[..., None]] = {"define": self.define, "start": self.start}
        commands[request.pop("do")](**request)
        print("{}", flush=True)


def main() -> None:
    loop = asyncio.new_event_loop()
    loop.add_reader(sys.stdin, BareLoop(Path(sys.argv[1]), loop).read_request)
    loop.run_forever()


if __name__ == "__main__":
    main()
