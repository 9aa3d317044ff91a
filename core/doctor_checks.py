"""The ground floor's checks: files, disk, database, keys, port, Redis, clock and limits of this machine."""

from __future__ import annotations

import os
import shutil
import socket
import stat
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from django.conf import settings
from django.core import checks as system_checks
from django.db import DatabaseError, connection
from django.db.migrations.executor import MigrationExecutor
from django.utils import timezone

from . import key_rotation
from .doctor import Finding, fail, ok, register, warn
from .heartbeats import jobs_are_alive, jobs_heartbeat
from .locks import is_held
from .models import AuditEntry
from .retention import (
    COMMAND,
    ClockError,
    ClocksDifferError,
    current_state,
    deletion_time,
    read_clock,
    settings_here,
)
from .secrets import SecretUnreadableError, keys, keys_path

MEGABYTE = 1024 * 1024
DISK_FAIL, DISK_WARN = 100 * MEGABYTE, 1024 * MEGABYTE
FEW_OPEN_FILES = 4096
# No clock that is right shows a moment before this program was written.
EARLIEST = datetime(2026, 1, 1, tzinfo=UTC)


@register
def settings_are_right() -> Iterator[Finding]:
    errors = [m for m in system_checks.run_checks() if m.level >= system_checks.ERROR]
    for message in errors:
        yield fail(f"settings.{message.id}", str(message.msg), str(message.hint or "See docs/settings.md."))
    if not errors:
        yield ok("settings", "The settings make sense.")


@register
def data_directory() -> Iterator[Finding]:
    path = Path(settings.DATA_DIR)
    if not os.access(path, os.R_OK | os.W_OK | os.X_OK):
        yield fail("data.writable", f"{path} cannot be written.", f"Give it to the account of the monitor: {path}")
        return
    yield ok("data.writable", f"{path} can be written.")
    if os.name == "posix" and stat.S_IMODE(path.stat().st_mode) & 0o077:
        yield fail("data.private", f"{path} is open to other users.", f"Run: chmod 700 {path}")
    else:
        yield ok("data.private", "Only its owner can look into it.")


@register
def unfinished_restore() -> Iterator[Finding]:
    if (Path(settings.DATA_DIR) / "restore-unfinished").exists():
        yield fail("data.restore", "A restore was cut short.", "Run the same `manage.py restore FILE` again.")


@register
def disk_space() -> Iterator[Finding]:
    free = shutil.disk_usage(settings.DATA_DIR).free
    told = f"{free // MEGABYTE:,} MB are free under {settings.DATA_DIR}."
    mend = "Make room, lower the retention settings, or move DATA_DIR."
    if free < DISK_WARN:
        yield fail("disk.space", told, mend) if free < DISK_FAIL else warn("disk.space", told, mend)
    else:
        yield ok("disk.space", told)


# --- Database -------------------------------------------------------------------------------------------


@register
def database() -> Iterator[Finding]:
    try:
        connection.ensure_connection()
    except DatabaseError as error:
        yield fail("database.opens", f"The database does not open: {error}", "Check DATABASE_URL and the server.")
        return
    yield ok("database.opens", f"The database opens ({connection.vendor}).")
    if connection.vendor == "sqlite":
        yield from _sqlite()
    waiting = _waiting_migrations()
    if waiting:
        told = f"{len(waiting)} migrations are not applied: {', '.join(waiting[:5])}"
        yield fail("database.migrations", told, "Run: manage.py migrate (serve does it by itself).")
    else:
        yield ok("database.migrations", "Every migration is applied.")


def _sqlite() -> Iterator[Finding]:
    try:
        with connection.cursor() as cursor:
            [problem] = cursor.execute("PRAGMA quick_check(1)").fetchone()
            [journal] = cursor.execute("PRAGMA journal_mode").fetchone()
    except DatabaseError as error:
        problem, journal = str(error), ""
    if problem == "ok":
        yield ok("database.integrity", "The file is sound.")
    else:
        yield fail("database.integrity", f"The file is damaged: {problem}", "Run: manage.py restore FILE")
    if journal in {"wal", "memory"}:
        yield ok("database.journal", f"The journal mode is {journal}.")
    elif journal:
        mend = "Keep DATA_DIR on a local disk: network file systems cannot do it, and writers block readers."
        yield warn("database.journal", f"The journal mode is {journal}, not WAL.", mend)


def _waiting_migrations() -> list[str]:
    executor = MigrationExecutor(connection)
    plan = executor.migration_plan(executor.loader.graph.leaf_nodes())
    return [f"{migration.app_label}.{migration.name}" for migration, _ in plan]


# --- Secrets --------------------------------------------------------------------------------------------


@register
def secret_keys() -> Iterator[Finding]:
    try:
        found = keys()
    except (SecretUnreadableError, PermissionError) as error:
        yield fail(
            "secrets.keys", str(error), "Bring back secrets.key from a backup, readable by its owner alone."
        )
        return
    except OSError as error:
        told = f"{keys_path()} cannot be made or read: {error.strerror}."
        yield fail("secrets.keys", told, "See to DATA_DIR (room, rights, the disk itself), then look again.")
        return
    usable = "1 usable key" if len(found) == 1 else f"{len(found)} usable keys"
    yield ok("secrets.keys", f"{keys_path().name} holds {usable}, readable by its owner alone.")
    for tally in key_rotation.check_all():
        if tally.unreadable:
            told = f"{tally.name}: {tally.unreadable} of {tally.seen} cannot be opened with the present keys."
            yield fail("secrets.open", told, "Bring back the secrets.key of this database, or set them again.")
        else:
            yield ok("secrets.open", f"{tally.name}: {tally.seen} stored, every one can be opened.")


# --- What runs ------------------------------------------------------------------------------------------


@register
def web_port() -> Iterator[Finding]:
    host, port = _bind_parts(settings.BIND)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            yield _port_taken(error)
        else:
            yield ok("web.port", f"{settings.BIND} is free.")


def _port_taken(error: OSError) -> Finding:
    if is_held("serve") or is_held("web"):
        return ok("web.port", f"This monitor listens on {settings.BIND}.")
    mend = "Stop the other program, or choose another address with BIND."
    return fail("web.port", f"Nothing of ours runs, yet {settings.BIND} cannot be used: {error.strerror}.", mend)


def _bind_parts(bind: str) -> tuple[str, int]:
    host, _, port = bind.rpartition(":")
    return host.strip("[]") or "127.0.0.1", int(port)


@register
def jobs() -> Iterator[Finding]:
    at = jobs_heartbeat()
    if jobs_are_alive(at, timezone.now()):
        yield ok("jobs.alive", "Jobs are being worked on.")
    elif is_held("serve") or is_held("jobs"):
        since = f"since {at:%Y-%m-%d %H:%M:%S} UTC" if at else "ever"
        yield fail(
            "jobs.alive", f"No job has been finished {since}.", "Look at the log; then restart `manage.py serve`."
        )
    else:
        yield warn("jobs.alive", "No jobs process runs.", "Start it: manage.py serve")


@register
def redis() -> Iterator[Finding]:
    if not settings.REDIS_URL:
        return
    from redis import Redis, RedisError

    try:
        with Redis.from_url(settings.REDIS_URL, socket_timeout=2, socket_connect_timeout=2) as client:
            client.ping()
    except (RedisError, ValueError) as error:
        yield fail("redis.answers", f"Redis does not answer: {error}", "Check REDIS_URL and the server.")
    else:
        yield ok("redis.answers", "Redis answers.")


# --- The machine ----------------------------------------------------------------------------------------


@register
def clock() -> Iterator[Finding]:
    now = timezone.now()
    newest = AuditEntry.objects.values_list("at", flat=True).first()
    mend = "Set the clock and keep it right with NTP."
    if now < EARLIEST:
        yield fail("machine.clock", f"The clock says {now:%Y-%m-%d}, which has long passed.", mend)
    elif newest and newest > now + timedelta(minutes=2):
        yield warn(
            "machine.clock", f"The clock was turned back: something happened at {newest:%Y-%m-%d %H:%M}.", mend
        )
    else:
        yield ok("machine.clock", f"The clock says {now:%Y-%m-%d %H:%M:%S} UTC.")


@register
def retention() -> Iterator[Finding]:
    clock = read_clock()
    try:
        deletion_time(clock)
    except ClocksDifferError as error:
        yield warn("retention.clock", str(error), "Set the clock and keep it right with NTP.")
    except ClockError as error:
        mend = f"Set the clock, or run `{COMMAND}` if it is right."
        yield warn("retention.clock", str(error), mend)
    else:
        yield ok("retention.clock", "The clock can be trusted to delete old history.")
    kept = current_state().kept
    if differing := [
        f"{name} is {value} here" for name, value in settings_here().items() if kept.get(name, value) != value
    ]:
        told = (
            f"{', '.join(differing)}, but {', '.join(f'{name}={value}' for name, value in kept.items())} applies."
        )
        mend = "Only the agent of the default host decides: change it there and restart that agent."
        yield warn("retention.settings", told, mend)


@register
def exit_notices() -> Iterator[Finding]:
    if sys.platform != "linux":
        yield warn("machine.pidfd", "Exits are found by polling here.", "Nothing to do: only Linux tells at once.")
        return
    try:
        os.close(os.pidfd_open(os.getpid()))
    except OSError as error:
        mend = "Use Linux 5.3 or newer, and let the container's seccomp profile allow pidfd_open."
        yield warn("machine.pidfd", f"The kernel refuses pidfd_open ({error.strerror}); exits are polled.", mend)
    else:
        yield ok("machine.pidfd", "The kernel tells of exits at once.")


@register
def open_files() -> Iterator[Finding]:
    if sys.platform == "win32":
        return
    import resource

    _, limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limit != resource.RLIM_INFINITY and limit < FEW_OPEN_FILES:
        mend = "Raise it: LimitNOFILE=65536 in the systemd unit, or `ulimit -n 65536`."
        yield warn("machine.open_files", f"One process may open {limit} files.", mend)
    else:
        yield ok("machine.open_files", "The limit of open files is high enough.")
