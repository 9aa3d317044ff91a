"""Who belongs to which program: its main process, its session, its descendants, and whoever carries its mark.

Once known to belong, a process stays so to its end, also when its parent dies and it is handed to a stranger.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from .base import Key, Root, Sample

DEEPEST = 1000  # a table read while processes come and go may hold a circle

Family = dict[int, Sample]
Known = tuple[int, Key | None]  # kernel start, owner


class ProcessGroups:
    """Remembers, from one table to the next, who belongs to whom; a new process costs a look at its ancestors.

    From one tick to the next little happens: as long as the roots are the same, only who came, went or moved is
    looked at. A family in which nothing happened is the same object as before.
    """

    def __init__(self, marker_of: Callable[[int], str | None]) -> None:
        self._marker_of = marker_of
        self._table: Mapping[int, Sample] = {}
        self._roots: Mapping[Key, Root] = {}
        self._look = _Look({}, {}, {}, {}, marker_of)
        self._families: dict[Key, Family] = {}

    def gather(self, table: Mapping[int, Sample], roots: Mapping[Key, Root]) -> dict[Key, Family]:
        """The processes of each root that is alive, the root among them. Not to be changed by the caller."""
        before, self._table = self._table, table
        ended = [pid for pid, sample in before.items() if not _is_same(sample, table.get(pid))]
        if roots == self._roots and self._look.mains.keys().isdisjoint(ended):
            self._families = self._carried_on(before, ended)
        else:
            self._families = self._looked_at_anew(roots)
        self._roots = roots
        return self._families

    def _looked_at_anew(self, roots: Mapping[Key, Root]) -> dict[Key, Family]:
        mains, known = _living(self._table, roots), self._look.found
        if any(pid in known and known[pid][1] != key for pid, key in mains.items()):
            known = {}  # taken over from somebody else, with all its children
        look = self._look = _Look(self._table, mains, roots, known, self._marker_of)
        families: dict[Key, Family] = {key: {} for key in mains.values()}
        for pid, sample in self._table.items():
            owner = look.owner_of(pid)
            if owner in families:
                families[owner][pid] = sample
        look.known = {}
        return families

    def _carried_on(self, before: Mapping[int, Sample], ended: list[int]) -> dict[Key, Family]:
        look, look.table = self._look, self._table
        moved: dict[Key, Family] = {}
        for pid in ended:
            self._to_change(look.found.pop(pid)[1], moved).pop(pid, None)
        for pid, sample in look.table.items():
            if before.get(pid) is not sample:
                self._to_change(look.owner_of(pid), moved)[pid] = sample
        return self._families | moved

    def _to_change(self, owner: Key | None, moved: dict[Key, Family]) -> Family:
        """A copy of the family; where there is none, something that nobody looks at again."""
        if owner is None or owner not in self._families:
            return {}
        if owner not in moved:
            moved[owner] = dict(self._families[owner])
        return moved[owner]


def _is_same(sample: Sample, other: Sample | None) -> bool:
    """Whether both are of the same process."""
    return sample is other or (other is not None and sample.kernel_start == other.kernel_start)


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
        self.known = known
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
        known = self.found.get(pid) or self.known.get(pid)
        return known if known and known[0] == start else None
