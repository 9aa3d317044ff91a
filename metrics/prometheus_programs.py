"""The programs on the page `/metrics`.

Written as text: with 10,000 programs the page has 170,000 samples, for which prometheus_client takes two seconds.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import chain

from django.db.models import Sum

from programs import status
from programs.payloads import ProgramStatus
from programs.states import ALIVE, State

from .models import ResourceUsage
from .storage import tiers

LATE_SECONDS = 60  # a point that is written up to this late is still counted
ESCAPES = str.maketrans({"\\": r"\\", "\n": r"\n", '"': r"\""})
STATE_SUFFIXES = {
    state.value: [f',state="{other.value}"}} {int(other is state)}\n' for other in State] for state in State
}


class CpuSeconds:
    """CPU seconds per program since this web process started.

    Retention deletes old rows, so a sum over the tables would decrease. This counter only grows, and resets to 0
    with the process, which Prometheus handles as a counter reset.
    """

    def __init__(self) -> None:
        self._totals: dict[int, float] = {}
        self._seen: dict[tuple[int, int], int] = {}  # (program, timestamp) → CPU ms counted so far
        self._lock = threading.Lock()
        self._began = int(time.time())

    def totals(self, now: int) -> dict[int, float]:
        # The newest points still grow, so they are read again.
        with self._lock:
            since = max([at for _, at in self._seen], default=self._began) - LATE_SECONDS
            for program, at, cpu_ms in self._points(max(since, self._began), now):
                more = cpu_ms - self._seen.get((program, at), 0)
                self._totals[program] = self._totals.get(program, 0.0) + max(0, more) / 1000
                self._seen[program, at] = cpu_ms
            newest = max([at for _, at in self._seen], default=self._began)
            kept = newest - 2 * LATE_SECONDS
            self._seen = {key: value for key, value in self._seen.items() if key[1] >= kept}
            return dict(self._totals)

    def _points(self, since: int, now: int) -> Iterable[tuple[int, int, int]]:
        since = max(since, now - tiers.RAW.kept_seconds)
        points = ResourceUsage.objects.filter(period__gte=tiers.RAW.period_of(since), timestamp__gte=since)
        return points.values_list("program_id", "timestamp").annotate(Sum("cpu_ms")).order_by().iterator()


class Restarts:
    """Restarts per program, which never fall: an instance that is gone, or counts from 0 again, stays counted.

    Starts with the restarts of the present instances when the web process starts.
    """

    def __init__(self) -> None:
        self._totals: dict[int, int] = {}
        self._seen: dict[tuple[int, int], int] = {}  # (program, instance) → restarts counted so far
        self._lock = threading.Lock()

    def totals(self, programs: Iterable[ProgramStatus]) -> dict[int, int]:
        with self._lock:
            seen: dict[tuple[int, int], int] = {}
            totals: dict[int, int] = {}
            for program in programs:
                number = program["id"]
                total = self._totals.get(number, 0)
                for process in program["processes"]:
                    key = (number, process["index"])
                    seen[key] = restarts = process["restarts"]
                    before = self._seen.get(key, 0)
                    total += restarts - before if restarts >= before else restarts
                totals[number] = total
            self._seen, self._totals = seen, totals
            return totals


def _usage(field: str, scale: float = 1.0) -> Callable[[ProgramStatus], float | None]:
    """The sum over the instances that run; None if none does, whose last value says nothing."""

    def value(program: ProgramStatus) -> float | None:
        alive = [process[field] for process in program["processes"] if process["state"] in ALIVE]  # type: ignore[literal-required]  # a field of a process
        return sum(alive) * scale if alive else None

    return value


GAUGES: Sequence[tuple[str, str, Callable[[ProgramStatus], float | None]]] = (
    ("up", "1 if the program is running", lambda program: int(program["state"] == "running")),
    ("instances", "Running instances", lambda program: program["instances"]["running"]),
    ("instances_desired", "Desired instances", lambda program: program["instances"]["desired"]),
    ("cpu_usage_ratio", "CPU usage; 1 is one core", _usage("cpu_percent", 0.01)),
    ("resident_memory_bytes", "Resident memory", _usage("memory_bytes")),
    ("threads", "Threads", _usage("threads")),
    ("uptime_seconds", "Time since the program started", lambda program: program["uptime_seconds"]),
)


class ProgramMetrics:
    def __init__(self) -> None:
        self._cpu = CpuSeconds()
        self._restarts = Restarts()

    def text(self) -> Iterator[str]:
        """One part for each metric. Two queries."""
        programs = status.all_programs(status.read_host_state())
        labels = [_labels(program["name"], program["host"] or "") for program in programs]
        for name, help_text, value in GAUGES:
            yield _family(name, "gauge", help_text, labels, map(value, programs))
        ids = [program["id"] for program in programs]
        restarts = self._restarts.totals(programs)
        yield _family("restarts_total", "counter", "Restarts by the monitor", labels, map(restarts.get, ids))
        used = self._cpu.totals(int(time.time()))
        seconds = (used.get(number, 0.0) for number in ids)
        yield _family("cpu_seconds_total", "counter", "CPU time since the web process started", labels, seconds)
        yield _states(labels, programs)


@lru_cache(maxsize=100_000)
def _labels(name: str, host: str) -> str:
    """Without the closing brace; in the order of prometheus_client, which sorts by name."""
    return f'{{host="{host.translate(ESCAPES)}",program="{name.translate(ESCAPES)}"'


def _head(name: str, kind: str, help_text: str) -> str:
    return f"# HELP monitor_program_{name} {help_text}\n# TYPE monitor_program_{name} {kind}\n"


def _family(name: str, kind: str, help_text: str, labels: Iterable[str], values: Iterable[float | None]) -> str:
    lines = [
        f"monitor_program_{name}{label}}} {value!r}\n"
        for label, value in zip(labels, values, strict=True)
        if value is not None
    ]
    return _head(name, kind, help_text) + "".join(lines)


def _states(labels: Iterable[str], programs: Iterable[ProgramStatus]) -> str:
    lines = chain.from_iterable(
        [f"monitor_program_state{label}{suffix}" for suffix in STATE_SUFFIXES[program["state"]]]
        for label, program in zip(labels, programs, strict=True)
    )
    return _head("state", "gauge", "1 for the current state") + "".join(lines)
