"""The least a manager can do: an asyncio loop that starts programs again when their pidfd says they ended.

usage: floor_loop.py DIRECTORY. Programs come as one JSON line on standard input, `{"do": "start"}` starts them.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path


class Floor:
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
        self.loop.add_reader(pidfd, self.exited, name, pidfd)

    def exited(self, name: str, pidfd: int) -> None:
        self.loop.remove_reader(pidfd)
        os.close(pidfd)
        self.running[name].wait()
        self.spawn(name)

    def define(self, programs: dict[str, list[str]]) -> None:
        self.programs = programs

    def start(self) -> None:
        for name in self.programs:
            self.spawn(name)

    def asked(self) -> None:
        request = json.loads(sys.stdin.readline() or "null")
        if request is None:
            self.loop.stop()
            return
        verbs: dict[str, Callable[..., None]] = {"define": self.define, "start": self.start}
        verbs[request.pop("do")](**request)
        print("{}", flush=True)


def main() -> None:
    loop = asyncio.new_event_loop()
    loop.add_reader(sys.stdin, Floor(Path(sys.argv[1]), loop).asked)
    loop.run_forever()


if __name__ == "__main__":
    main()
