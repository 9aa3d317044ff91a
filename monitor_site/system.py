"""`/system`: host, agents, job queue, database, cache and health."""

from __future__ import annotations

import platform
from datetime import UTC, datetime
from typing import Any

import psutil
from django.conf import settings
from django.db import DatabaseError, connection
from django.http import HttpRequest
from django.utils import timezone
from django_q.models import OrmQ
from ninja import Router, Schema
from ninja.errors import HttpError

from core import cache
from core.access.audit import audit
from core.access.login import client_address
from core.models import jobs_are_alive, jobs_heartbeat
from core.rest import auth
from core.rest.auth import AuthedRequest
from core.timeformat import iso
from programs.hosts import is_alive
from programs.models import Host

router = Router(tags=["system"])
DATABASE_SIZE_SQL = {
    "sqlite": "SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()",
    "postgresql": "SELECT pg_database_size(current_database())",
}
psutil.cpu_percent()  # the first call returns 0, later ones the average since the last call


class Health(Schema):
    status: str


class CacheKind(Schema):
    """`hit_ratio` is null before the first request, `oldest_seconds` without entries and with Redis."""

    name: str
    seconds: float
    hits: int
    misses: int
    failures: int
    hit_ratio: float | None
    entries: int
    bytes: int
    oldest_seconds: int | None


class CacheOut(Schema):
    """`available`: whether the cache can be read now."""

    backend: str
    available: bool
    entries: int
    bytes: int
    kinds: list[CacheKind]


class CacheCleared(Schema):
    cleared: int


@router.get("/health", auth=None, response=Health)
def health(request: HttpRequest) -> dict[str, str]:
    """For watchdogs, without login: 200, or 503 when the database is not reachable or the agent is lost."""
    try:
        known = Host.objects.filter(name=settings.HOST_NAME) or Host.objects.filter(is_default=True)
        host = known.first()
    except DatabaseError as error:
        raise HttpError(503, "The database cannot be reached.") from error
    if host is None or not is_alive(host.heartbeat_at, timezone.now()):
        raise HttpError(503, "The agent is lost: it has sent no heartbeat for 20 s.")
    return {"status": "ok"}


@router.get("", auth=auth.READ, response=dict[str, Any])
def system(request: HttpRequest) -> dict[str, Any]:
    """Version, host, agents, job queue, database and cache."""
    return {
        "version": settings.VERSION,
        "host": _host(),
        "agents": _agents(),
        "jobs": _jobs(),
        "database": _database(),
        "cache": cache.statistics(),
    }


@router.get("/cache", auth=auth.READ, response=CacheOut)
def cache_statistics(request: HttpRequest) -> dict[str, Any]:
    """Size of the cache, and hits and misses of this web process since it started."""
    return cache.statistics()


@router.delete("/cache", auth=auth.ADMIN, response={200: CacheCleared})
def clear_cache(request: AuthedRequest) -> dict[str, int]:
    """Deletes all entries. Never required: keys contain the revision of their data."""
    try:
        cleared = cache.clear()
    except cache.CacheError as error:
        raise HttpError(503, str(error)) from error
    audit(request.auth, "cache.clear", "", address=client_address(request), data={"cleared": cleared})
    return {"cleared": cleared}


def _host() -> dict[str, Any]:
    memory, disk = psutil.virtual_memory(), psutil.disk_usage(str(settings.DATA_DIR))
    return {
        "name": settings.HOST_NAME,
        "platform": platform.platform(),
        "cpu_count": psutil.cpu_count(),
        "cpu_percent": psutil.cpu_percent(),
        "memory": {"total": memory.total, "used": memory.total - memory.available, "percent": memory.percent},
        "disk": {"total": disk.total, "used": disk.used, "percent": disk.percent},
        "load": list(psutil.getloadavg()),
        "boot_time": iso(datetime.fromtimestamp(psutil.boot_time(), UTC)),
    }


def _agents() -> list[dict[str, Any]]:
    now = timezone.now()
    return [
        {"host": host.name, "heartbeat_at": iso(host.heartbeat_at), "alive": is_alive(host.heartbeat_at, now)}
        for host in Host.objects.order_by("name")
    ]


def _jobs() -> dict[str, Any]:
    return {"alive": jobs_are_alive(jobs_heartbeat(), timezone.now()), "queued": OrmQ.objects.count()}


def _database() -> dict[str, Any]:
    with connection.cursor() as cursor:
        cursor.execute(DATABASE_SIZE_SQL[connection.vendor])
        row = cursor.fetchone()
    return {"engine": connection.vendor, "bytes": row[0] if row else 0}
