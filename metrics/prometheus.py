"""The exposition for Prometheus: programs, hosts and the monitor itself, read afresh for every scrape.

Base units, as Prometheus wants them: seconds, bytes, ratios. docs/metrics.md lists the metrics.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence

from django.conf import settings
from django.db import connection
from django.db.models import OuterRef, Subquery, Sum
from django_q.models import OrmQ
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from core.models import ErrorGroup, Heartbeat
from programs import status
from programs.connection_limits import connections
from programs.models import Host
from programs.payloads import ProgramStatus
from programs.states import State

from . import timing
from .alerts import selectors as alerts
from .models import AgentVitals, HostUsage, ResourceUsage
from .storage import tiers

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
LATE_SECONDS = 60  # a point may be written that long after its time and still be counted
BYTES_OF_DATABASE = {
    "sqlite": "SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()",
    "postgresql": "SELECT pg_database_size(current_database())",
}
ProcessGroups = Iterable[Metric]
Labelled = tuple[Sequence[str], float | None]
Build = Callable[[str, str, Sequence[str], Iterable[Labelled]], Metric]


class Exposition:
    """Keeps the counters that live in this process."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        for collector in (Programs(), Hosts(), Ourselves()):
            self._registry.register(collector)

    def text(self) -> bytes:
        """The whole of it. Eleven queries, however many programs there are."""
        return generate_latest(self._registry) + generate_latest(timing.registry)


class FromDatabase(Collector):
    def describe(self) -> ProcessGroups:
        """Nothing, so that registering does not read the database, which may not be there yet."""
        return []


def _gauge(name: str, about: str, labels: Sequence[str], samples: Iterable[Labelled]) -> Metric:
    return _filled(GaugeMetricFamily(f"monitor_{name}", about, labels=labels), samples)


def _counter(name: str, about: str, labels: Sequence[str], samples: Iterable[Labelled]) -> Metric:
    return _filled(CounterMetricFamily(f"monitor_{name}", about, labels=labels), samples)


def _filled(family: GaugeMetricFamily | CounterMetricFamily, samples: Iterable[Labelled]) -> Metric:
    """What is not known has no sample."""
    for labels, value in samples:
        if value is not None:
            family.add_metric(labels, value)
    return family


# --- Programs -------------------------------------------------------------------------------------------


class CpuSeconds:
    """CPU time since this process was first asked.

    Old history is removed, so a sum over the tables would shrink. This only grows, and begins anew with the
    process, as counters may.
    """

    def __init__(self) -> None:
        self._totals: dict[int, float] = {}
        self._seen: dict[tuple[int, int], int] = {}  # (program, timestamp) → what was counted of that point
        self._lock = threading.Lock()
        self._began = int(time.time())

    def totals(self, now: int) -> dict[int, float]:
        """Program id → seconds. Points grow while they are the newest, so the latest ones are looked at again."""
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


OF_PROGRAM: Sequence[tuple[Build, str, str, Callable[[ProgramStatus], float | None]]] = (
    (_gauge, "program_up", "1 when it runs", lambda now: now["state"] == State.RUNNING),
    (_gauge, "program_instances", "Instances that run", lambda now: now["instances"]["running"]),
    (_gauge, "program_instances_desired", "Instances wanted", lambda now: now["instances"]["desired"]),
    (_gauge, "program_cpu_usage_ratio", "CPU in use; 1 is one core", lambda now: now["cpu_percent"] / 100),
    (_gauge, "program_resident_memory_bytes", "Resident memory", lambda now: now["memory_bytes"]),
    (_gauge, "program_threads", "Threads", lambda now: now["threads"]),
    (_gauge, "program_uptime_seconds", "How long it has run", lambda now: now["uptime_seconds"]),
    (_counter, "program_restarts", "Restarts by the monitor", lambda now: now["restarts"]),
)


class Programs(FromDatabase):
    LABELS = ("program", "host")

    def __init__(self) -> None:
        self._cpu = CpuSeconds()

    def collect(self) -> ProcessGroups:
        programs = [
            (now, (now["name"], now["host"] or "")) for now in status.all_programs(status.read_host_state())
        ]
        for build, name, about, value in OF_PROGRAM:
            yield build(name, about, self.LABELS, [(labels, value(now)) for now, labels in programs])
        used = self._cpu.totals(int(time.time()))
        seconds = [(labels, used.get(now["id"], 0.0)) for now, labels in programs]
        yield _counter("program_cpu_seconds", "CPU time since the web process began", self.LABELS, seconds)
        states = [((*labels, state), now["state"] == state) for now, labels in programs for state in State]
        yield _gauge("program_state", "1 for the state it is in", (*self.LABELS, "state"), states)


# --- Hosts ----------------------------------------------------------------------------------------------

OF_HOST: Mapping[str, tuple[str, Callable[[HostUsage], float | None]]] = {
    "host_load1": ("Load of the last minute", lambda row: row.load_1),
    "host_cpu_usage_ratio": ("CPU in use; 1 is every core", lambda row: row.cpu_percent / 100),
    "host_memory_size_bytes": ("Memory there is", lambda row: row.memory_total),
    "host_memory_used_bytes": ("Memory that could not be had without swapping", lambda row: row.memory_used),
    "host_swap_used_bytes": ("Swap in use", lambda row: row.swap_used),
    "host_disk_size_bytes": ("Size of the file system with the monitor's data", lambda row: row.disk_total),
    "host_disk_used_bytes": ("Of it in use", lambda row: row.disk_used),
    "host_last_point_timestamp_seconds": ("When usage was last recorded", lambda row: row.timestamp),
}


class Hosts(FromDatabase):
    """Each host as its agent recorded it last."""

    def collect(self) -> ProcessGroups:
        newest = HostUsage.objects.filter(host=OuterRef("pk"), step=tiers.RAW.step).order_by("-timestamp")
        last = dict(Host.objects.values_list("pk", Subquery(newest.values("timestamp")[:1])))
        found = HostUsage.objects.filter(step=tiers.RAW.step, timestamp__in=set(last.values()) - {None})
        rows = [row for row in found.select_related("host") if last[row.host_id] == row.timestamp]
        for name, (about, value) in OF_HOST.items():
            yield _gauge(name, about, ("host",), [((row.host.name,), value(row)) for row in rows])


# --- Ourselves ------------------------------------------------------------------------------------------

OF_AGENT: Sequence[tuple[Build, str, str, str]] = (
    (_counter, "agent_ticks", "Looks at all programs", "ticks"),
    (_counter, "agent_ticks_missed", "Looks that came too late to be made", "ticks_missed"),
    (_gauge, "agent_tick_lag_seconds", "How late the last look began", "tick_lag_seconds"),
    (_gauge, "agent_tick_lag_max_seconds", "How late the latest one began", "tick_lag_seconds_max"),
    (_gauge, "agent_tick_duration_seconds", "How long the last look took", "tick_seconds"),
    (_gauge, "agent_write_duration_seconds", "How long the last writing of points took", "write_seconds"),
    (_gauge, "agent_points_waiting", "Points not yet in the database", "waiting_points"),
    (_counter, "agent_points_dropped", "Points given up, the database being away", "dropped_points"),
    (_gauge, "agent_changes_waiting", "Changes of state not yet in the database", "waiting_entries"),
)


class Ourselves(FromDatabase):
    def collect(self) -> ProcessGroups:
        yield _gauge("build_info", "Which version this is", ("version",), [((settings.VERSION,), 1)])
        yield from self._agents()
        beats = [((beat.name,), beat.at.timestamp()) for beat in Heartbeat.objects.order_by("name")]
        yield _gauge("heartbeat_timestamp_seconds", "When a part last proved that it works", ("part",), beats)
        yield _gauge("jobs_queued", "Jobs that wait", (), [((), OrmQ.objects.count())])
        unseen = ErrorGroup.objects.filter(resolved_at=None).count()
        yield _gauge(
            "errors_open", "Kinds of error of the monitor itself that nobody has resolved", (), [((), unseen)]
        )
        firing = [((severity,), count) for severity, count in alerts.firing_by_severity().items()]
        yield _gauge("alerts_firing", "Alerts that last", ("severity",), firing)
        yield _gauge("database_size_bytes", "Size of the database", (), [((), _database_bytes())])
        yield _gauge("live_connections", "Websockets and streams that are open", (), [((), connections.total)])

    def _agents(self) -> ProcessGroups:
        seen = status.read_host_state()
        alive = [((name,), seen.alive[pk]) for pk, name in seen.names.items()]
        yield _gauge("agent_up", "1 when it was heard lately", ("host",), alive)
        vitals = [(one, (seen.names[one.host_id],)) for one in AgentVitals.objects.filter(host__in=seen.names)]
        for build, name, about, field in OF_AGENT:
            yield build(name, about, ("host",), [(labels, getattr(one, field)) for one, labels in vitals])


def _database_bytes() -> int:
    with connection.cursor() as cursor:
        cursor.execute(BYTES_OF_DATABASE[connection.vendor])
        row = cursor.fetchone()
    return int(row[0]) if row else 0
