"""What a probe is, what it may use of its program, and what comes out."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from programs.definition import values
from programs.placeholders import fill

LABELS: dict[str, Callable[[str], str]] = {
    "http": lambda target: re.sub(r"//[^/@]*@", "//", target.partition("?")[0]),
    "tcp": str,
    "exec": lambda target: target.split()[0],
    "log": repr,
}


class ProbeFailedError(Exception):
    """The program did not answer as it should; the text says how."""


class Probe(values.Probe):
    """The probe of one process: `target` without placeholders."""

    @classmethod
    def parse(cls, fields: Mapping[str, Any], index: int) -> Self:
        """From the JSON of a definition, for the process `index`. Raises PlaceholderError."""
        return cls(**{**fields, "target": fill(fields["target"], index)})

    @property
    def label(self) -> str:
        """The probe in a sentence; without passwords in an address, or arguments of a command."""
        return f"{self.kind} {LABELS[self.kind](self.target)}"


@dataclass(frozen=True)
class Outcome:
    ok: bool
    detail: str
    seconds: float


def _no_lines() -> Iterable[str]:
    return ()


@dataclass
class ProbeContext:
    """What the probes of one process share.

    `environment`, `working_directory` and `spawn` (further arguments of Popen: user, group, extra_groups) are
    those of the program, for exec probes. `environment` must not hold the monitor's mark, or a probe could be
    taken for a part of the program. `new_lines` returns the lines of the program's log since its last call, at
    first since the process started; it may be a generator and is read as far as time allows.
    """

    environment: Mapping[str, str] = field(default_factory=dict)
    working_directory: str | None = None
    spawn: Mapping[str, Any] = field(default_factory=dict)
    new_lines: Callable[[], Iterable[str]] = _no_lines
    wanted_texts: set[str] = field(default_factory=set)
    seen_texts: set[str] = field(default_factory=set)
    unread_lines: Iterator[str] = field(default_factory=lambda: iter(()))
