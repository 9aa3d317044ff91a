"""The live feed: sends changes to the websockets and waiting requests of this process.

One task reads the database for all subscribers, and only while there are any. It wakes up on a doorbell signal and
at least once a second, so a lost signal delays a change by at most one second. Each subscriber has a bounded
queue: one that is too slow loses its messages and has to read the whole state again, and does not delay the
others. docs/adr/0001-live-updates.md explains why there is no channel layer.
"""

from __future__ import annotations

import asyncio
import contextvars
import time
from collections import deque
from collections.abc import AsyncIterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from weakref import WeakKeyDictionary

import orjson
import structlog
from django.db import connection

from core import doorbell

from . import events, status
from .models import ProgramEvent
from .payloads import Changes, Delta, EventMessage, ProgramStatus, Snapshot

log = structlog.get_logger(__name__)
POLL_SECONDS = 1.0
URGENT_SECONDS = 0.02
# Pause between two reads, so that many changes are sent as a few batches.
BATCH_SECONDS = 0.05
SNAPSHOT_SECONDS = 0.5
QUEUE_SIZE = 256
MAX_EVENTS = 100


@dataclass(frozen=True)
class Message:
    """One websocket message. `programs` are the statuses in it, for subscribers inside this process."""

    text: str
    programs: Mapping[int, ProgramStatus] = field(default_factory=dict)


class Subscription:
    """The queue of one subscriber. While one is `urgent`, the feed reads every URGENT_SECONDS."""

    def __init__(self, *, urgent: bool) -> None:
        self.urgent = urgent
        self._messages: deque[Message] = deque()
        self._needs_resync = False
        self._has_messages = asyncio.Event()

    def put(self, message: Message) -> None:
        if len(self._messages) >= QUEUE_SIZE:  # bounds the memory that a slow client can occupy
            self.require_resync()
        elif not self._needs_resync:
            self._messages.append(message)
            self._has_messages.set()

    def require_resync(self) -> None:
        """Drops all messages; the subscriber has to read the whole state."""
        self._messages.clear()
        self._needs_resync = True
        self._has_messages.set()

    async def get(self) -> Message | None:
        """The next message. None if the subscriber has to read the whole state."""
        await self._has_messages.wait()
        message = None if self._needs_resync else self._messages.popleft()
        self._needs_resync = False
        if not self._messages:
            self._has_messages.clear()
        return message


class LiveFeed:
    """The feed of one event loop; `current()` returns it."""

    def __init__(self) -> None:
        self._subscriptions: set[Subscription] = set()
        self._task: asyncio.Task[None] | None = None
        self._wake_up = asyncio.Event()
        self._is_ready = asyncio.Event()
        self._reader = FeedReader()
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="feed")

    @asynccontextmanager
    async def subscribe(self, *, urgent: bool = False) -> AsyncIterator[Subscription]:
        """Subscribes to all messages. A snapshot read inside this context misses none of them."""
        subscription = Subscription(urgent=urgent)
        self._subscriptions.add(subscription)
        try:
            if self._task is None:
                self._start()
            elif urgent:
                self._wake_up.set()
            await self._is_ready.wait()
            yield subscription
        finally:
            self._subscriptions.discard(subscription)
            if not self._subscriptions:
                await self._stop()

    async def snapshot(self) -> str:
        """The websocket message with the whole state. Concurrent callers share one database read."""
        return await asyncio.get_running_loop().run_in_executor(self._executor, self._reader.snapshot)

    def _start(self) -> None:
        self._is_ready.clear()  # subscribers wait until the first read has fixed the starting revision
        self._reader = FeedReader()
        # An empty context: the feed outlives the request that starts it, and must not log in its name.
        self._task = asyncio.get_running_loop().create_task(self._run(), context=contextvars.Context())

    async def _stop(self) -> None:
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            self._executor.submit(_close_connection)

    async def _run(self) -> None:
        async with doorbell.listen("web") as self._wake_up:
            while True:
                self._distribute(await self._read())
                pause, rest = self._delays()
                await asyncio.sleep(pause)
                await doorbell.wait(self._wake_up, rest)

    def _distribute(self, messages: list[Message] | None) -> None:
        for subscription in self._subscriptions:
            if messages is None:
                subscription.require_resync()
            for message in messages or ():
                subscription.put(message)

    def _delays(self) -> tuple[float, float]:
        if any(subscription.urgent for subscription in self._subscriptions):
            return URGENT_SECONDS / 2, URGENT_SECONDS / 2
        return BATCH_SECONDS, POLL_SECONDS - BATCH_SECONDS

    async def _read(self) -> list[Message] | None:
        try:
            messages = await asyncio.get_running_loop().run_in_executor(self._executor, self._reader.advance)
        except Exception:  # an error of any kind must not end the feed for all subscribers
            log.exception("feed.read_failed")
            self._executor.submit(_close_connection)
            await asyncio.sleep(POLL_SECONDS)
            return []
        self._is_ready.set()
        return messages


class FeedReader:
    """Reads what is new in the database. Runs in the only thread of the feed."""

    def __init__(self) -> None:
        self._revision = -1
        self._sent = -1
        self._liveness = status.AgentLiveness()
        self._snapshot = ("", -1, 0.0)  # text, its revision, monotonic time

    def advance(self) -> list[Message] | None:
        """Messages for all changes since the last call; one query without changes. None: all have to resync."""
        hosts = status.read_host_state()
        previous, self._revision = self._revision, hosts.revision
        is_stale = self._liveness.has_changed(hosts)  # lost heartbeats change states without a new revision
        if previous < 0:
            self._sent = hosts.revision
            return []
        found = None if is_stale else status.changes(previous, hosts)
        if found is None:
            self._sent, self._snapshot = hosts.revision, ("", -1, 0.0)
            return None
        return [*self._delta(found, hosts.revision), *_events(previous, hosts.revision)]

    def _delta(self, found: Changes, revision: int) -> list[Message]:
        if not found["programs"] and not found["removed"]:
            return []
        delta: Delta = {"type": "delta", "revision": revision, "previous": self._sent, **found}
        self._sent = revision
        return [Message(_text(delta), {program["id"]: program for program in found["programs"]})]

    def snapshot(self) -> str:
        text, revision, at = self._snapshot
        if revision < self._revision or time.monotonic() - at > SNAPSHOT_SECONDS:
            report = status.report()
            message: Snapshot = {
                "type": "snapshot",
                "revision": report["revision"],
                "programs": report["programs"],
            }
            text = _text(message)
            self._snapshot = (text, report["revision"], time.monotonic())
        return text


def _close_connection() -> None:
    connection.close()  # thread-local, so it must run in the thread of the feed


def _events(after: int, up_to: int) -> list[Message]:
    """The newest events between two revisions, oldest first."""
    if after == up_to:
        return []
    rows = ProgramEvent.objects.filter(seq__gt=after, seq__lte=up_to).order_by("-seq")[:MAX_EVENTS]
    messages: list[EventMessage] = [{"type": "event", "event": events.as_json(row)} for row in rows]
    return [Message(_text(message)) for message in reversed(messages)]


def _text(message: Snapshot | Delta | EventMessage) -> str:
    return orjson.dumps(message).decode()


_feeds: WeakKeyDictionary[asyncio.AbstractEventLoop, LiveFeed] = WeakKeyDictionary()


def current() -> LiveFeed:
    return _feeds.setdefault(asyncio.get_running_loop(), LiveFeed())
