"""One life of a process, and what its tree uses."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from typing import NamedTuple

from . import platform
from .platform import Identity, Watch


class Usage(NamedTuple):
    """What a process tree uses: percent of one core, resident bytes, threads."""

    cpu_percent: float = 0.0
    memory_bytes: int = 0
    threads: int = 0


@dataclass
class Run:
    """One life of the process, from start or adoption to its end."""

    who: Identity
    marker: str
    watch: Watch | None = None
    popen: subprocess.Popen[bytes] | None = None  # None: adopted, somebody else's child
    log_start: int = 0  # where its own output begins, as a logical offset

    @property
    def uptime(self) -> float:
        return max(0.0, platform.now() - platform.kernel_seconds(self.who.kernel_start))
