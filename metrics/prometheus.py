"""The Prometheus page `/metrics`: programs, hosts, the monitor itself, and request durations.

Values are read from the database for every scrape, in base units (seconds, bytes, ratios). docs/metrics.md lists
the metrics.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from functools import cache
from ipaddress import ip_address
from typing import Any

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.conf import settings
from django.db import connection
from django.db.models import OuterRef, Subquery
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.utils import timezone
from django.views.decorators.http import require_safe
from django_q.models import OrmQ
from ninja.errors import HttpError
from prometheus_client import CollectorRegistry, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from core.models import ErrorGroup, Heartbeat
from core.rest import auth
from programs import status
from programs.connection_limits import connections
from programs.hosts import is_alive
from programs.models import Host

from .alerts import selectors as alerts
from .models import AgentVitals, HostUsage
from .prometheus_programs import ProgramMetrics
from .storage import tiers

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
DATABASE_SIZE_SQL = {
    "sqlite": "SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()",
    "postgresql": "SELECT pg_database_size(current_database())",
}
MetricFamilies = Iterable[Metric]
LabelledValue = tuple[Sequence[str], float | None]
FamilyBuilder = Callable[[str, str, Sequence[str], Iterable[LabelledValue]], Metric]


class Exposition:
    """The collectors. Some counters live in this process."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        for collector in (HostMetrics(), MonitorMetrics()):
            self._registry.register(collector)
        self._programs = ProgramMetrics()

    def text(self) -> bytes:
        """The page. Eleven queries, regardless of the number of programs."""
        programs = "".join(self._programs.text()).encode()
        return programs + generate_latest(self._registry) + generate_latest(request_registry)


class DatabaseCollector(Collector):
    def describe(self) -> MetricFamilies:
        # Empty, so that registering does not query the database, which may not exist yet.
        return []


def _gauge(name: str, help_text: str, labels: Sequence[str], samples: Iterable[LabelledValue]) -> Metric:
    return _with_samples(GaugeMetricFamily(f"monitor_{name}", help_text, labels=labels), samples)


def _counter(name: str, help_text: str, labels: Sequence[str], samples: Iterable[LabelledValue]) -> Metric:
    return _with_samples(CounterMetricFamily(f"monitor_{name}", help_text, labels=labels), samples)


def _with_samples(family: GaugeMetricFamily | CounterMetricFamily, samples: Iterable[LabelledValue]) -> Metric:
    for labels, value in samples:
        if value is not None:
            family.add_metric(labels, value)
    return family


# --- Hosts ----------------------------------------------------------------------------------------------

HOST_GAUGES: Mapping[str, tuple[str, Callable[[HostUsage], float | None]]] = {
    "host_load1": ("Load average over 1 minute", lambda row: row.load_1),
    "host_cpu_usage_ratio": ("CPU usage; 1 is all cores", lambda row: row.cpu_percent / 100),
    "host_memory_size_bytes": ("Total memory", lambda row: row.memory_total),
    "host_memory_used_bytes": ("Memory that is not available without swapping", lambda row: row.memory_used),
    "host_swap_used_bytes": ("Used swap", lambda row: row.swap_used),
    "host_disk_size_bytes": ("Size of the file system with the monitor's data", lambda row: row.disk_total),
    "host_disk_used_bytes": ("Used space on the file system with the monitor's data", lambda row: row.disk_used),
}


class HostMetrics(DatabaseCollector):
    """The newest recorded point of each host. Without its agent only when that was."""

    def collect(self) -> MetricFamilies:
        newest = HostUsage.objects.filter(host=OuterRef("pk"), step=tiers.RAW.step).order_by("-timestamp")
        last = dict(Host.objects.values_list("pk", Subquery(newest.values("timestamp")[:1])))
        now = timezone.now()
        found = HostUsage.objects.filter(step=tiers.RAW.step, timestamp__in=set(last.values()) - {None})
        rows = [row for row in found.select_related("host") if last[row.host_id] == row.timestamp]
        alive = [row for row in rows if is_alive(row.host.heartbeat_at, now)]
        for name, (help_text, value) in HOST_GAUGES.items():
            yield _gauge(name, help_text, ("host",), [((row.host.name,), value(row)) for row in alive])
        newest_at = [((row.host.name,), row.timestamp) for row in rows]
        yield _gauge(
            "host_last_point_timestamp_seconds", "Time of the newest recorded point", ("host",), newest_at
        )


# --- The monitor ------------------------------------------------------------------------------------------

AGENT_METRICS: Sequence[tuple[FamilyBuilder, str, str, str]] = (
    (_counter, "agent_ticks", "Sampling ticks", "ticks"),
    (
        _counter,
        "agent_ticks_missed",
        "Sampling ticks skipped because the one before took too long",
        "ticks_missed",
    ),
    (_gauge, "agent_tick_lag_seconds", "Delay of the last tick", "tick_lag_seconds"),
    (_gauge, "agent_tick_lag_max_seconds", "Largest delay of a tick", "tick_lag_seconds_max"),
    (_gauge, "agent_tick_duration_seconds", "Duration of the last tick", "tick_seconds"),
    (_gauge, "agent_write_duration_seconds", "Duration of the last write of points", "write_seconds"),
    (_gauge, "agent_points_waiting", "Points not yet in the database", "waiting_points"),
    (_counter, "agent_points_dropped", "Points dropped during a database outage", "dropped_points"),
    (_gauge, "agent_changes_waiting", "States and events not yet in the database", "waiting_entries"),
)


class MonitorMetrics(DatabaseCollector):
    def collect(self) -> MetricFamilies:
        yield _gauge("build_info", "Version of the monitor", ("version",), [((settings.VERSION,), 1)])
        yield from self._agents()
        beats = [((beat.name,), beat.at.timestamp()) for beat in Heartbeat.objects.order_by("name")]
        yield _gauge("heartbeat_timestamp_seconds", "Last heartbeat of a part", ("part",), beats)
        yield _gauge("jobs_queued", "Queued jobs", (), [((), OrmQ.objects.count())])
        unseen = ErrorGroup.objects.filter(resolved_at=None).count()
        yield _gauge("errors_open", "Unresolved error groups of the monitor itself", (), [((), unseen)])
        firing = [((severity,), count) for severity, count in alerts.firing_by_severity().items()]
        yield _gauge("alerts_firing", "Firing alerts", ("severity",), firing)
        yield _gauge("database_size_bytes", "Size of the database", (), [((), _database_bytes())])
        yield _gauge("live_connections", "Open websockets and streams", (), [((), connections.total)])

    def _agents(self) -> MetricFamilies:
        seen = status.read_host_state()
        alive = [((name,), seen.alive[pk]) for pk, name in seen.names.items()]
        yield _gauge("agent_up", "1 if the agent has a recent heartbeat", ("host",), alive)
        hosts = [pk for pk, is_up in seen.alive.items() if is_up]
        vitals = [(one, (seen.names[one.host_id],)) for one in AgentVitals.objects.filter(host__in=hosts)]
        for build, name, help_text, field in AGENT_METRICS:
            yield build(name, help_text, ("host",), [(labels, getattr(one, field)) for one, labels in vitals])


def _database_bytes() -> int:
    with connection.cursor() as cursor:
        cursor.execute(DATABASE_SIZE_SQL[connection.vendor])
        row = cursor.fetchone()
    return int(row[0]) if row else 0


# --- Request durations ---------------------------------------------------------------------------------

REQUEST_BUCKETS = (0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
KNOWN_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
request_registry = CollectorRegistry()
request_durations = Histogram(
    "monitor_http_request_duration_seconds",
    "Time from a request to the headers of its response",
    ["method", "route", "status"],
    buckets=REQUEST_BUCKETS,
    registry=request_registry,
)


class RequestTimingMiddleware:
    """Measures request durations. Labels are bounded: route pattern (not path), status class, known methods."""

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: Callable[[HttpRequest], Any]) -> None:
        self.get_response = get_response
        self.is_async = iscoroutinefunction(get_response)
        if self.is_async:
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> HttpResponseBase | Awaitable[HttpResponseBase]:
        if self.is_async:
            return self._respond_async(request)
        began = time.perf_counter()
        return _timed(request, self.get_response(request), began)

    async def _respond_async(self, request: HttpRequest) -> HttpResponseBase:
        began = time.perf_counter()
        return _timed(request, await self.get_response(request), began)


def _timed(request: HttpRequest, response: HttpResponseBase, began: float) -> HttpResponseBase:
    route = request.resolver_match.route if request.resolver_match else "none"
    method = request.method if request.method in KNOWN_METHODS else "other"
    request_durations.labels(method, route, f"{response.status_code // 100}xx").observe(
        time.perf_counter() - began
    )
    return response


# --- The page ------------------------------------------------------------------------------------------

# Behind a local reverse proxy every request comes from the loopback interface; these headers reveal the proxy.
PROXY_HEADERS = ("X-Forwarded-For", "X-Forwarded-Host", "X-Real-Ip", "Forwarded", "Via")


@cache
def _exposition() -> Exposition:
    return Exposition()


@require_safe
def prometheus_page(request: HttpRequest) -> HttpResponse:
    """Allowed from this machine, and with a token or session that may read."""
    try:
        is_allowed = any(callback(request) for callback in auth.READ) or _is_local(request)
    except HttpError as error:
        return _refused(error.status_code, str(error))
    if not is_allowed:
        return _refused(
            401, "Send a token (Authorization: Bearer pm_…), or request this page from the monitor's host."
        )
    answer = HttpResponse(_exposition().text(), content_type=CONTENT_TYPE)
    answer["Cache-Control"] = "no-store"
    return answer


def _refused(status: int, text: str) -> HttpResponse:
    answer = HttpResponse(f"{text}\n", status=status, content_type="text/plain; charset=utf-8")
    if status == 401:
        answer["WWW-Authenticate"] = "Bearer"
    return answer


def _is_local(request: HttpRequest) -> bool:
    if any(name in request.headers for name in PROXY_HEADERS):
        return False
    try:
        return ip_address(request.META.get("REMOTE_ADDR", "")).is_loopback
    except ValueError:
        return False
