"""Separates the options of `program add` from those of the command it defines."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from core.cli.exit_codes import UsageError


class ArgumentSplitter:
    """`with_value` and `switches` are the options of `program add`, with and without a value after them."""

    def __init__(self, with_value: Collection[str], switches: Collection[str]) -> None:
        self._with_value = frozenset(with_value)
        self._ours = self._with_value | frozenset(switches)

    def arranged(self, words: Sequence[str]) -> list[str]:
        """Our options, `--`, the name, and the words of the command unchanged.

        The command begins after `--`, or with the second word that isn't an option; everything after that belongs
        to it. Options may follow when that word is a whole quoted command. Raises UsageError when an option could
        belong to either.
        """
        options: list[str] = []
        plain: list[str] = []
        rest = list(words)
        while rest and rest[0] != "--" and len(plain) < 2:
            if rest[0].startswith("-") and rest[0] != "-":
                options += self._pop_option(rest)
            else:
                plain.append(rest.pop(0))
        if rest[:1] == ["--"]:
            return [*options, "--", *plain, *rest[1:]]
        if len(plain) == 2 and len(plain[1].split()) > 1:
            while rest and self._is_ours(rest[0]):
                options += self._pop_option(rest)
        self._refuse_ambiguous(plain, rest)
        return [*options, "--", *plain, *rest] if plain else options

    def _pop_option(self, rest: list[str]) -> list[str]:
        count = 2 if rest[0] in self._with_value else 1
        taken, rest[:count] = rest[:count], []
        return taken

    def _is_ours(self, word: str) -> bool:
        return word.partition("=")[0] in self._ours

    def _refuse_ambiguous(self, plain: Sequence[str], rest: Sequence[str]) -> None:
        for word in filter(self._is_ours, rest):
            name, command = plain
            raise UsageError(
                f"{word} could belong to this command or to {command!r}. Write options before {name}, "
                f"or -- between {name} and {command!r}."
            )
