"""What every subcommand is: arguments and a run. Its module is loaded only when it is asked for."""

from __future__ import annotations

from abc import ABC, abstractmethod
from argparse import ArgumentParser
from collections.abc import Sequence

from .exits import Exit
from .terminal import Options, Terminal


class Subcommand(ABC):
    @abstractmethod
    def add_arguments(self, parser: ArgumentParser) -> None: ...

    @abstractmethod
    def run(self, options: Options, terminal: Terminal) -> Exit:
        """Raises FailedError, ValidationError or ConflictError for what cannot be done."""

    def arranged(self, words: Sequence[str]) -> list[str]:
        """The words of the command line in an order that argparse understands."""
        return list(words)
