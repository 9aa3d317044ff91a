"""Controls circusd over ZeroMQ. usage: circus_client.py ENDPOINT

Runs with the interpreter of the environment that has Circus, so it cannot import from this project.
"""

from __future__ import annotations

import importlib
import json
import sys
import time
from collections.abc import Callable
from typing import Any

Answer = dict[str, Any]
STOP_SECONDS = 30
STATUS_SECONDS = 10


class Client:
    def __init__(self, endpoint: str) -> None:
        # Imported by name, because types are checked in an environment without Circus.
        self.circus = importlib.import_module("circus.client").CircusClient(endpoint=endpoint, timeout=30)

    def call(self, command: str, **properties: object) -> Answer:
        answer: Answer = self.circus.send_message(command, **properties)
        if answer.get("status") == "error":
            raise RuntimeError(answer.get("reason", "circusd reported an error"))
        return answer

    def start(self) -> Answer:
        return self.call("start")

    def stop(self) -> Answer:
        """Stop all programs and wait. Retries, because Circus refuses while it executes the previous command."""
        deadline = time.monotonic() + STOP_SECONDS
        while True:
            try:
                return self.call("stop", waiting=True)
            except RuntimeError as error:
                if "already running" not in str(error) or time.monotonic() > deadline:
                    raise
                time.sleep(0.05)

    def status(self, times: int) -> Answer:
        return self.timed(lambda: self.call("status")["statuses"], times)

    def stats(self, times: int) -> Answer:
        return self.timed(lambda: self.call("stats")["infos"], times)

    def timed(self, ask: Callable[[], Answer], times: int) -> Answer:
        programs = len(ask())
        milliseconds: list[float] = []
        while len(milliseconds) < times and sum(milliseconds) < STATUS_SECONDS * 1000:
            began = time.perf_counter()
            ask()
            milliseconds.append((time.perf_counter() - began) * 1000)
        return {"milliseconds": milliseconds, "programs": programs}


def main() -> None:
    client = Client(sys.argv[1])
    commands: dict[str, Callable[..., Answer]] = {
        "start": client.start,
        "stop": client.stop,
        "status": client.status,
        "stats": client.stats,
    }
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer = commands[request.pop("do")](**request)
        except Exception as error:  # the caller reports it
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
