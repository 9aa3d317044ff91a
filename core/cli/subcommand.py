"""The base class of subcommands, and the entry that loads one on use."""

from __future__ import annotations

from abc import ABC, abstractmethod
from argparse import ArgumentParser
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module

from .exit_codes import Exit
from .terminal import Options, Terminal


@dataclass(frozen=True)
class Entry:
    """`path` is `module:Class` within `package`."""

    package: str
    path: str
    help: str

    def load(self) -> Subcommand:
        module, _, name = self.path.partition(":")
        made: Subcommand = getattr(import_module(f".{module}", self.package), name)()
        return made


class Subcommand(ABC):
    @abstractmethod
    def add_arguments(self, parser: ArgumentParser) -> None: ...

    @abstractmethod
    def run(self, options: Options, terminal: Terminal) -> Exit:
        """Raises FailedError, ValidationError or ConflictError."""

    def arranged(self, words: Sequence[str]) -> list[str]:
        return list(words)
