"""Doctor checks of files, disk, database, keys, port, Redis, clock and limits of this machine."""

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
from .locks import is_held
from .models import AuditEntry, jobs_are_alive, jobs_heartbeat
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
MIN_OPEN_FILES = 4096
# A correct clock cannot show a time before this program was written.
EARLIEST_TIME = datetime(2026, 1, 1, tzinfo=UTC)


@register
def valid_settings() -> Iterator[Finding]:
    errors = [m for m in system_checks.run_checks() if m.level >= system_checks.ERROR]
    for message in errors:
        yield fail(f"settings.{message.id}", str(message.msg), str(message.hint or "See docs/settings.md."))
    if not errors:
        yield ok("settings", "The settings are valid.")


@register
def data_directory() -> Iterator[Finding]:
    path = Path(settings.DATA_DIR)
    if not os.access(path, os.R_OK | os.W_OK | os.X_OK):
        mend = f"Make the user who runs the monitor the owner: chown -R USER {path}"
        yield fail("data.writable", f"{path} is not writable.", mend)
        return
    yield ok("data.writable", f"{path} is writable.")
    if os.name == "posix" and stat.S_IMODE(path.stat().st_mode) & 0o077:
        yield fail("data.private", f"Other users can read {path}.", f"Run: chmod 700 {path}")
    else:
        yield ok("data.private", f"Only the owner can read {path}.")


@register
def unfinished_restore() -> Iterator[Finding]:
    if (Path(settings.DATA_DIR) / "restore-unfinished").exists():
        yield fail("data.restore", "A restore did not finish.", "Run the same `manage.py restore FILE` again.")


@register
def disk_space() -> Iterator[Finding]:
    free = shutil.disk_usage(settings.DATA_DIR).free
    summary = f"{free // MEGABYTE:,} MB are free in {settings.DATA_DIR}."
    mend = "Delete files, lower the retention settings, or move DATA_DIR."
    if free < DISK_WARN:
        yield fail("disk.space", summary, mend) if free < DISK_FAIL else warn("disk.space", summary, mend)
    else:
        yield ok("disk.space", summary)


# --- Database -------------------------------------------------------------------------------------------


@register
def database() -> Iterator[Finding]:
    try:
        connection.ensure_connection()
    except DatabaseError as error:
        yield fail(
            "database.opens", f"Cannot connect to the database: {error}", "Check DATABASE_URL and the server."
        )
        return
    yield ok("database.opens", f"The database accepts connections ({connection.vendor}).")
    if connection.vendor == "sqlite":
        yield from _sqlite()
    if pending := _pending_migrations():
        summary = f"{len(pending)} migrations are not applied: {', '.join(pending[:5])}"
        yield fail("database.migrations", summary, "Run: manage.py migrate (serve also runs it).")
    else:
        yield ok("database.migrations", "All migrations are applied.")


def _sqlite() -> Iterator[Finding]:
    try:
        with connection.cursor() as cursor:
            [problem] = cursor.execute("PRAGMA quick_check(1)").fetchone()
            [journal] = cursor.execute("PRAGMA journal_mode").fetchone()
    except DatabaseError as error:
        problem, journal = str(error), ""
    if problem == "ok":
        yield ok("database.integrity", "The database file is intact.")
    else:
        yield fail("database.integrity", f"The database file is damaged: {problem}", "Run: manage.py restore FILE")
    if journal in {"wal", "memory"}:
        yield ok("database.journal", f"The journal mode is {journal}.")
    elif journal:
        mend = "Put DATA_DIR on a local disk: network file systems do not support WAL, and writers block readers."
        yield warn("database.journal", f"The journal mode is {journal}, not WAL.", mend)


def _pending_migrations() -> list[str]:
    executor = MigrationExecutor(connection)
    plan = executor.migration_plan(executor.loader.graph.leaf_nodes())
    return [f"{migration.app_label}.{migration.name}" for migration, _ in plan]


# --- Secrets --------------------------------------------------------------------------------------------


@register
def secret_keys() -> Iterator[Finding]:
    try:
        found = keys()
    except (SecretUnreadableError, PermissionError) as error:
        yield fail("secrets.keys", str(error), "Restore secrets.key from a backup and run: chmod 600 secrets.key")
        return
    except OSError as error:
        summary = f"Cannot create or read {keys_path()}: {error.strerror}."
        yield fail(
            "secrets.keys",
            summary,
            "Check free space, permissions and the disk of DATA_DIR, then run the doctor again.",
        )
        return
    usable = "1 usable key" if len(found) == 1 else f"{len(found)} usable keys"
    yield ok("secrets.keys", f"{keys_path().name} has {usable} and is readable only by its owner.")
    for count in key_rotation.check_all():
        if count.unreadable:
            summary = (
                f"{count.name}: {count.unreadable} of {count.seen} cannot be decrypted with the present keys."
            )
            yield fail(
                "secrets.open",
                summary,
                "Restore the secrets.key that belongs to this database, or set the secrets again.",
            )
        else:
            yield ok("secrets.open", f"{count.name}: all {count.seen} can be decrypted.")


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
        return ok("web.port", f"The monitor listens on {settings.BIND}.")
    mend = "Stop the program that uses it, or set BIND to another address."
    return fail(
        "web.port", f"The monitor does not run, but {settings.BIND} cannot be used: {error.strerror}.", mend
    )


def _bind_parts(bind: str) -> tuple[str, int]:
    host, _, port = bind.rpartition(":")
    return host.strip("[]") or "127.0.0.1", int(port)


@register
def jobs() -> Iterator[Finding]:
    at = jobs_heartbeat()
    if jobs_are_alive(at, timezone.now()):
        yield ok("jobs.alive", "The jobs process works.")
    elif is_held("serve") or is_held("jobs"):
        summary = f"No job has finished since {at:%Y-%m-%d %H:%M:%S} UTC." if at else "No job has ever finished."
        yield fail("jobs.alive", summary, "Look for errors in the log, then restart `manage.py serve`.")
    else:
        yield warn("jobs.alive", "The jobs process does not run.", "Run: manage.py serve")


@register
def redis() -> Iterator[Finding]:
    if not settings.REDIS_URL:
        return
    from redis import Redis, RedisError

    try:
        with Redis.from_url(settings.REDIS_URL, socket_timeout=2, socket_connect_timeout=2) as client:
            client.ping()
    except (RedisError, ValueError) as error:
        yield fail("redis.answers", f"Cannot reach Redis: {error}", "Check REDIS_URL and the server.")
    else:
        yield ok("redis.answers", "Redis is reachable.")


# --- The machine ----------------------------------------------------------------------------------------


@register
def clock() -> Iterator[Finding]:
    now = timezone.now()
    newest = AuditEntry.objects.values_list("at", flat=True).first()
    mend = "Set the clock, and keep it correct with NTP."
    if now < EARLIEST_TIME:
        yield fail("machine.clock", f"The clock shows {now:%Y-%m-%d}, which is in the past.", mend)
    elif newest and newest > now + timedelta(minutes=2):
        yield warn(
            "machine.clock",
            f"The clock was set back: the newest audit entry is from {newest:%Y-%m-%d %H:%M}.",
            mend,
        )
    else:
        yield ok("machine.clock", f"The clock shows {now:%Y-%m-%d %H:%M:%S} UTC.")


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
def exit_notification() -> Iterator[Finding]:
    if sys.platform != "linux":
        yield warn("machine.pidfd", "Exits are found by polling.", "Nothing to do: only Linux can notify at once.")
        return
    try:
        os.close(os.pidfd_open(os.getpid()))
    except OSError as error:
        mend = "Use Linux 5.3 or newer, and allow pidfd_open in the container's seccomp profile."
        yield warn(
            "machine.pidfd", f"The kernel refuses pidfd_open ({error.strerror}); exits are found by polling.", mend
        )
    else:
        yield ok("machine.pidfd", "The kernel notifies the agent of exits at once.")


@register
def open_files() -> Iterator[Finding]:
    if sys.platform == "win32":
        return
    import resource

    _, limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limit != resource.RLIM_INFINITY and limit < MIN_OPEN_FILES:
        mend = "Raise the limit: LimitNOFILE=65536 in the systemd unit, or `ulimit -n 65536`."
        yield warn("machine.open_files", f"One process may open {limit} files.", mend)
    else:
        yield ok("machine.open_files", "The limit of open files is high enough.")
