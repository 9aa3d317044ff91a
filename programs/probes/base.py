"""The types that all probes share."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from core.secret_mask import NO_SECRETS, SecretMask
from programs.definition import values
from programs.placeholders import fill

LABELS: dict[str, Callable[[str], str]] = {
    "http": lambda target: re.sub(r"//[^/@]*@", "//", target.partition("?")[0]),
    "tcp": str,
    "exec": lambda target: target.split()[0],
    "log": repr,
}


class ProbeFailedError(Exception):
    """The check failed; the message is shown to people."""


class Probe(values.Probe):
    """The probe of one process: `target` without placeholders."""

    @classmethod
    def parse(cls, fields: Mapping[str, Any], index: int) -> Self:
        """From the JSON of a definition, for the instance `index`. Raises PlaceholderError."""
        return cls(**{**fields, "target": fill(fields["target"], index)})

    @property
    def label(self) -> str:
        """For messages: without passwords in a URL and without the arguments of a command."""
        return f"{self.kind} {LABELS[self.kind](self.target)}"


@dataclass(frozen=True)
class ProbeResult:
    ok: bool
    detail: str
    seconds: float


def _no_lines() -> Iterable[str]:
    return ()


@dataclass
class ProbeContext:
    """Shared by the probes of one process.

    `environment`, `working_directory` and `spawn` (further arguments of Popen: user, group, extra_groups) are
    those of the program, for exec probes. `environment` must not contain the monitor's marker variable, or the
    command would count as part of the program. `new_lines` returns the log lines since its last call, the first
    time since the process started. It may be a generator, which is read until the timeout. `mask` masks the
    secrets of the program in the result.
    """

    environment: Mapping[str, str] = field(default_factory=dict)
    working_directory: str | None = None
    spawn: Mapping[str, Any] = field(default_factory=dict)
    new_lines: Callable[[], Iterable[str]] = _no_lines
    mask: SecretMask = NO_SECRETS
    wanted_texts: set[str] = field(default_factory=set)
    seen_texts: set[str] = field(default_factory=set)
    unread_lines: Iterator[str] = field(default_factory=lambda: iter(()))
