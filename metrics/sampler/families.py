"""Who belongs to which program: its main process, its session, its descendants, and whoever carries its mark.

Once known to belong, a process stays so to its end, also when its parent dies and it is handed to a stranger.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from .base import Key, Root, Sample

DEEPEST = 1000  # a table read while processes come and go may hold a circle

Family = dict[int, Sample]
Known = tuple[int, Key | None]  # kernel start, owner


class Families:
    """Remembers, from one table to the next, who belongs to whom; a new process costs a look at its ancestors."""

    def __init__(self, marker_of: Callable[[int], str | None]) -> None:
        self._marker_of = marker_of
        self._known: dict[int, Known] = {}  # by pid

    def gather(self, table: Mapping[int, Sample], roots: Mapping[Key, Root]) -> dict[Key, Family]:
        """The processes of each root that is alive, the root among them."""
        mains = _living(table, roots)
        if any(pid in self._known and self._known[pid][1] != key for pid, key in mains.items()):
            self._known = {}  # taken over from somebody else, with all its children
        look = _Look(table, mains, roots, self._known, self._marker_of)
        families: dict[Key, Family] = {key: {} for key in mains.values()}
        for pid, sample in table.items():
            owner = look.owner_of(pid)
            if owner in families:
                families[owner][pid] = sample
        self._known = look.found
        return families


def _living(table: Mapping[int, Sample], roots: Mapping[Key, Root]) -> dict[int, Key]:
    return {
        root.pid: key
        for key, root in roots.items()
        if (sample := table.get(root.pid)) and sample.kernel_start == root.kernel_start
    }


class _Look:
    """One look at one table."""

    def __init__(
        self,
        table: Mapping[int, Sample],
        mains: dict[int, Key],
        roots: Mapping[Key, Root],
        known: Mapping[int, Known],
        marker_of: Callable[[int], str | None],
    ) -> None:
        self.table = table
        self.mains = mains
        self.found: dict[int, Known] = {}
        self._known = known
        self._marker_of = marker_of
        self._marked = {root.marker: key for key, root in roots.items() if root.marker}

    def owner_of(self, pid: int) -> Key | None:
        owner: Key | None = None
        strangers: list[Sample] = []
        sample = self.table.get(pid)
        while sample and len(strangers) < DEEPEST:
            if settled := self._settled(sample):
                self.found[sample.pid] = settled
                owner = settled[1]
                break
            strangers.append(sample)
            sample = self.table.get(sample.ppid)
        for sample in reversed(strangers):
            owner = owner or self._marked.get(self._marker_of(sample.pid) or "")
            self.found[sample.pid] = (sample.kernel_start, owner)
        return owner

    def _settled(self, sample: Sample) -> Known | None:
        """What is certain about a process without looking at its ancestors."""
        pid, start = sample.pid, sample.kernel_start
        if (main := self.mains.get(pid)) or (main := self.mains.get(sample.session)):
            return (start, main)
        known = self.found.get(pid) or self._known.get(pid)
        return known if known and known[0] == start else None
