"""After, Before, Requires and their like between the imported units, as dependencies."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from .draft import Draft
from .systemd_units import Unit

ORDER_KEYS = ("After", "Before")
REQUIREMENT_KEYS = ("Requires", "Requisite", "BindsTo", "Wants")
KEYS = ORDER_KEYS + REQUIREMENT_KEYS


def depend(services: Sequence[tuple[Unit, Draft]]) -> None:
    """Sets `depends_on` of each draft. What is not among the services, or closes a circle, becomes a note."""
    drafts = {unit.name: draft for unit, draft in services}
    needs: dict[str, list[str]] = {name: [] for name in drafts}
    # The order first: a requirement without order may run against it, and then the order holds.
    for keys in (ORDER_KEYS, REQUIREMENT_KEYS):
        for unit, draft in services:
            for key, other in _named(unit, keys):
                _add(needs, drafts, unit, draft, key, other)
    for name, draft in drafts.items():
        if needs[name]:
            wanted = [{"program": drafts[other].name, "condition": "started"} for other in needs[name]]
            draft.set("depends_on", wanted)


def _named(unit: Unit, keys: Sequence[str]) -> Iterator[tuple[str, str]]:
    for key in keys:
        for name in unit.listed("Unit", key):
            yield key, unit.fill(name, set())


def _add(
    needs: dict[str, list[str]], drafts: dict[str, Draft], unit: Unit, draft: Draft, key: str, other: str
) -> None:
    if other not in drafts:
        draft.dropped(f"{key}={other}", "it is not among the imported units")
        return
    later, earlier = (other, unit.name) if key == "Before" else (unit.name, other)
    if later == earlier or _reaches(needs, earlier, later):
        draft.dropped(f"{key}={other}", "it would close a circle of dependencies")
    elif earlier not in needs[later]:
        needs[later].append(earlier)


def _reaches(needs: dict[str, list[str]], start: str, goal: str) -> bool:
    seen, waiting = set(), [start]
    while waiting:
        current = waiting.pop()
        if current == goal:
            return True
        if current not in seen:
            seen.add(current)
            waiting += needs[current]
    return False
