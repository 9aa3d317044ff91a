"""Keeps a process from dialling, reading and starting what it should not, whichever library tries.

Python reports what is about to happen to an audit hook. A hook cannot be removed, which is right in a process that
lives for one message, and wrong in any other.
"""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from core.http import Policy, RefusedError

FILES = (
    "/etc/hosts",
    "/etc/localtime",
    "/etc/mime.types",
    "/etc/ssl",
    "/usr/share/zoneinfo",
    "/dev/urandom",
    os.devnull,
)
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
STARTS = ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "os.forkpty")


class Guard:
    """`refusals` tells afterwards what was tried in vain; `peer` is the address dialled last."""

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self.refusals: list[str] = []
        self.peer = ""
        self._readable = tuple(map(str, _code_folders())) + FILES
        self._rules: dict[str, Callable[[tuple[Any, ...]], None]] = {
            "socket.connect": lambda args: self._dial(args[1]),
            "socket.sendto": lambda args: self._dial(args[1]),
            "socket.sendmsg": lambda args: self._dial(args[1]) if args[1] is not None else None,
            "open": lambda args: self._open(args[0], args[2]),
            **dict.fromkeys(STARTS, self._start),
        }

    def install(self) -> None:
        """From now on, and until the process ends."""
        sys.addaudithook(self._hook)
        self._guard_names()

    def _hook(self, event: str, args: tuple[Any, ...]) -> None:
        if rule := self._rules.get(event):
            rule(args)

    def _guard_names(self) -> None:
        """A name with one address that is not allowed is refused whole, as in `core.http`."""
        resolve = socket.getaddrinfo

        def guarded(host: Any, port: Any, *args: Any, **kwargs: Any) -> Any:
            answers = resolve(host, port, *args, **kwargs)
            for answer in answers:
                self._check(str(answer[4][0]), int(answer[4][1]))
            return answers

        socket.getaddrinfo = guarded

    def _dial(self, address: Any) -> None:
        if not isinstance(address, tuple) or len(address) < 2:
            self._refuse("Only network addresses may be dialled.")
        self._check(str(address[0]), int(address[1]))
        self.peer = str(address[0])

    def _check(self, host: str, port: int) -> None:
        try:
            self.policy.check(host, port)
        except RefusedError as error:
            self._refuse(str(error))

    def _open(self, path: Any, flags: int) -> None:
        """Services may name files in their URL (templates, keys): no file but Python's own is theirs to read."""
        if isinstance(path, int):
            return
        whole = os.path.realpath(os.fsdecode(path))
        if flags & WRITING or not any(
            whole == known or whole.startswith(known + os.sep) for known in self._readable
        ):
            self._refuse("Files of this machine may not be used.")

    def _start(self, args: tuple[Any, ...]) -> None:
        self._refuse("No other program may be started.")

    def _refuse(self, text: str) -> None:
        self.refusals.append(text)
        raise PermissionError(text)


def _code_folders() -> Iterable[Path]:
    """Python with its libraries, and what of ours runs here; not the folder above, which may hold data."""
    ours = Path(__file__).resolve().parents[3]
    return (Path(sys.prefix).resolve(), Path(sys.base_prefix).resolve(), ours / "core", ours / "webhooks")
