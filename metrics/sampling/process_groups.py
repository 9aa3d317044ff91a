"""Assigns every process to a program: by main process, session, ancestor, or marker in its environment.

A process stays assigned until it ends, also when its parent dies and init adopts it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from .base import InstanceKey, ProcessSample, RootProcess

MAX_DEPTH = 1000  # a table read while pids are reused may hold a circle of parents

Members = dict[int, ProcessSample]
Owned = tuple[int, InstanceKey | None]  # kernel start, owner


class ProcessGroups:
    """Remembers the owner of each process from one process table to the next.

    While the roots stay the same, only processes that started, ended or changed are examined. A group without
    changes is the same object as before.
    """

    def __init__(self, marker_of: Callable[[int], str | None]) -> None:
        self._marker_of = marker_of
        self._table: Mapping[int, ProcessSample] = {}
        self._roots: Mapping[InstanceKey, RootProcess] = {}
        self._lookup = _OwnerLookup({}, {}, {}, {}, marker_of)
        self._members_by_key: dict[InstanceKey, Members] = {}

    def gather(
        self, table: Mapping[int, ProcessSample], roots: Mapping[InstanceKey, RootProcess]
    ) -> dict[InstanceKey, Members]:
        """The processes of each living root, including the root. The caller must not change the result."""
        before, self._table = self._table, table
        ended = [pid for pid, sample in before.items() if not _is_same(sample, table.get(pid))]
        if roots == self._roots and self._lookup.main_pids.keys().isdisjoint(ended):
            self._members_by_key = self._update(before, ended)
        else:
            self._members_by_key = self._rebuild(roots)
        self._roots = roots
        return self._members_by_key

    def _rebuild(self, roots: Mapping[InstanceKey, RootProcess]) -> dict[InstanceKey, Members]:
        main_pids, previous = _live_roots(self._table, roots), self._lookup.owners
        if any(pid in previous and previous[pid][1] != key for pid, key in main_pids.items()):
            previous = {}  # a root that was assigned to another program is taken over with all its children
        lookup = self._lookup = _OwnerLookup(self._table, main_pids, roots, previous, self._marker_of)
        members_by_key: dict[InstanceKey, Members] = {key: {} for key in main_pids.values()}
        for pid, sample in self._table.items():
            owner = lookup.owner_of(pid)
            if owner in members_by_key:
                members_by_key[owner][pid] = sample
        lookup.previous = {}
        return members_by_key

    def _update(self, before: Mapping[int, ProcessSample], ended: list[int]) -> dict[InstanceKey, Members]:
        lookup, lookup.table = self._lookup, self._table
        changed: dict[InstanceKey, Members] = {}
        for pid in ended:
            self._copy_of(lookup.owners.pop(pid)[1], changed).pop(pid, None)
        for pid, sample in lookup.table.items():
            if before.get(pid) is not sample:
                self._copy_of(lookup.owner_of(pid), changed)[pid] = sample
        return self._members_by_key | changed

    def _copy_of(self, owner: InstanceKey | None, changed: dict[InstanceKey, Members]) -> Members:
        """A copy of the group to change, or a throw-away dict if there is none."""
        if owner is None or owner not in self._members_by_key:
            return {}
        if owner not in changed:
            changed[owner] = dict(self._members_by_key[owner])
        return changed[owner]


def _is_same(sample: ProcessSample, other: ProcessSample | None) -> bool:
    # The pid alone may have been reused.
    return sample is other or (other is not None and sample.kernel_start == other.kernel_start)


def _live_roots(
    table: Mapping[int, ProcessSample], roots: Mapping[InstanceKey, RootProcess]
) -> dict[int, InstanceKey]:
    return {
        root.pid: key
        for key, root in roots.items()
        if (sample := table.get(root.pid)) and sample.kernel_start == root.kernel_start
    }


class _OwnerLookup:
    """Finds and caches the owner of each process in one table."""

    def __init__(
        self,
        table: Mapping[int, ProcessSample],
        main_pids: dict[int, InstanceKey],
        roots: Mapping[InstanceKey, RootProcess],
        previous: Mapping[int, Owned],
        marker_of: Callable[[int], str | None],
    ) -> None:
        self.table = table
        self.main_pids = main_pids
        self.owners: dict[int, Owned] = {}
        self.previous = previous
        self._marker_of = marker_of
        self._key_of_marker = {root.marker: key for key, root in roots.items() if root.marker}

    def owner_of(self, pid: int) -> InstanceKey | None:
        owner: InstanceKey | None = None
        unowned: list[ProcessSample] = []
        sample = self.table.get(pid)
        while sample and len(unowned) < MAX_DEPTH:
            if owned := self._known_owner(sample):
                self.owners[sample.pid] = owned
                owner = owned[1]
                break
            unowned.append(sample)
            sample = self.table.get(sample.ppid)
        for sample in reversed(unowned):
            owner = owner or self._key_of_marker.get(self._marker_of(sample.pid) or "")
            self.owners[sample.pid] = (sample.kernel_start, owner)
        return owner

    def _known_owner(self, sample: ProcessSample) -> Owned | None:
        pid, start = sample.pid, sample.kernel_start
        if (main := self.main_pids.get(pid)) or (main := self.main_pids.get(sample.session)):
            return (start, main)
        previous = self.owners.get(pid) or self.previous.get(pid)
        return previous if previous and previous[0] == start else None
