"""Hosts as network namespaces: one with a server, and others that each have a cable to it. Needs root and `ip`."""

from __future__ import annotations

import os
import shutil
import subprocess
from types import TracebackType

MAY_MAKE_HOSTS = os.name == "posix" and os.geteuid() == 0 and shutil.which("ip") is not None


class Network:
    """The server's side of cable n has the address 10.78.n.1, the host's side 10.78.n.2."""

    def __init__(self, hosts: int) -> None:
        self.server = f"monitor-server-{os.getpid()}"
        self.hosts = [f"monitor-host{number}-{os.getpid()}" for number in range(hosts)]

    def __enter__(self) -> Network:
        for namespace in (self.server, *self.hosts):
            _ip("netns", "add", namespace)
            _ip("-n", namespace, "link", "set", "lo", "up")
        for number, host in enumerate(self.hosts):
            cable = f"cable{number}"
            _ip("link", "add", cable, "netns", self.server, "type", "veth", "peer", "name", "eth0", "netns", host)
            for namespace, device, end in ((self.server, cable, 1), (host, "eth0", 2)):
                _ip("-n", namespace, "address", "add", f"10.78.{number}.{end}/24", "dev", device)
                _ip("-n", namespace, "link", "set", device, "up")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for namespace in (self.server, *self.hosts):
            _ip("netns", "del", namespace)

    def cut(self, number: int) -> None:
        """Drops every packet; nobody is refused."""
        _ip("-n", self.server, "link", "set", f"cable{number}", "down")

    def mend(self, number: int) -> None:
        _ip("-n", self.server, "link", "set", f"cable{number}", "up")


def inside(namespace: str) -> list[str]:
    return ["ip", "netns", "exec", namespace]


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True)
