"""What every subcommand is: arguments and a run. Its module is loaded only when it is asked for."""

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
    """A subcommand by name: `path` is `module:Class` within `package`, imported only when it is used."""

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
        """Raises FailedError, ValidationError or ConflictError for what cannot be done."""

    def arranged(self, words: Sequence[str]) -> list[str]:
        """The words of the command line in an order that argparse understands."""
        return list(words)
