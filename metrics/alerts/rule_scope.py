"""Which programs a rule is about. Programs and tags add up; with neither it is all of them. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Set
from dataclasses import dataclass

Tagged = Mapping[int, Set[str]]  # program id → its tags


@dataclass(frozen=True)
class Selection:
    programs: Collection[int] = ()
    tags: Collection[str] = ()

    @property
    def is_all(self) -> bool:
        return not self.programs and not self.tags

    def includes(self, program: int, tags: Set[str]) -> bool:
        if self.is_all:
            return True
        return program in self.programs or not tags.isdisjoint(self.tags)

    def among(self, present: Tagged) -> list[int]:
        """Ids in the order of `present`."""
        return [program for program, tags in present.items() if self.includes(program, tags)]
