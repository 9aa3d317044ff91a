"""Changes a program with the API again and again, even while the server is killed and restarted."""

from __future__ import annotations

import http.client
import itertools
import json
import threading

PAUSE = 0.02  # seconds


class Author:
    """`acknowledged`: changes confirmed by the server. Whether interrupted ones were made is unknown."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.acknowledged: list[str] = []
        self.refused: list[tuple[int, bytes]] = []  # status and body of unexpected responses
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self, token: str, program_id: int) -> None:
        path, headers = f"/api/programs/{program_id}", {"Authorization": f"Bearer {token}"}
        self._thread = threading.Thread(target=self._write, args=(path, headers), daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()
        if self._thread:
            self._thread.join()

    def _write(self, path: str, headers: dict[str, str]) -> None:
        for number in itertools.count():
            if self._stopped.wait(PAUSE):
                return
            description = f"change {number}"
            try:
                status, body = self._patch(path, headers, {"description": description})
            except (OSError, http.client.HTTPException):
                continue  # killed, or not up yet
            if status == 200:
                self.acknowledged.append(description)
            else:
                self.refused.append((status, body))

    def _patch(self, path: str, headers: dict[str, str], values: dict[str, str]) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            headers = {**headers, "Content-Type": "application/json"}
            connection.request("PATCH", path, json.dumps(values), headers)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()
