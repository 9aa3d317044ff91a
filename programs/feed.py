"""What changes, told to everybody who watches in this process: websockets and requests that wait.

One task reads the database once for all of them, and only while somebody watches. It wakes on the doorbell,
else once a second; the database is the truth, so a lost ring costs a second at most. Each watcher has a mailbox
of its own with a bound: one that does not keep up loses its messages, is told so and starts over, and holds up
nobody. Why no channel layer is in between: docs/adr/0001-live-updates.md.
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
IDLE_SECONDS = 1.0
URGENT_SECONDS = 0.02
# Between two looks at the database, so that a storm of changes costs bundles instead of single messages.
BUNDLE_SECONDS = 0.05
SNAPSHOT_SECONDS = 0.5
MAILBOX_SIZE = 256
EVENTS_AT_ONCE = 100


@dataclass(frozen=True)
class Message:
    """One websocket message, and the statuses it carries for those who look at programs themselves."""

    text: str
    programs: Mapping[int, ProgramStatus] = field(default_factory=dict)


class Mailbox:
    """What one watcher has not yet taken. `urgent`: somebody waits for it, so look often."""

    def __init__(self, *, urgent: bool) -> None:
        self.urgent = urgent
        self._messages: deque[Message] = deque()
        self._must_start_over = False
        self._filled = asyncio.Event()

    def put(self, message: Message) -> None:
        if len(self._messages) >= MAILBOX_SIZE:
            self.start_over()
        elif not self._must_start_over:
            self._messages.append(message)
            self._filled.set()

    def start_over(self) -> None:
        """Only the whole state helps this watcher now."""
        self._messages.clear()
        self._must_start_over = True
        self._filled.set()

    async def take(self) -> Message | None:
        """The next message; None when the watcher has to read the whole state."""
        await self._filled.wait()
        message = None if self._must_start_over else self._messages.popleft()
        self._must_start_over = False
        if not self._messages:
            self._filled.clear()
        return message


class Feed:
    """The feed of one event loop; `current()` finds it."""

    def __init__(self) -> None:
        self._mailboxes: set[Mailbox] = set()
        self._task: asyncio.Task[None] | None = None
        self._bell = asyncio.Event()
        self._is_ready = asyncio.Event()
        self._reading = Reading()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="feed")

    @asynccontextmanager
    async def watch(self, *, urgent: bool = False) -> AsyncIterator[Mailbox]:
        """A mailbox that gets every message. What is read from the database after this misses none of them."""
        mailbox = Mailbox(urgent=urgent)
        self._mailboxes.add(mailbox)
        try:
            if self._task is None:
                self._start()
            elif urgent:
                self._bell.set()
            await self._is_ready.wait()
            yield mailbox
        finally:
            self._mailboxes.discard(mailbox)
            if not self._mailboxes:
                await self._stop()

    async def snapshot(self) -> str:
        """The websocket message with all there is, for one who has a mailbox. Many at once cost one reading."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._reading.snapshot)

    def _start(self) -> None:
        self._is_ready.clear()
        self._reading = Reading()
        # Not in the context of the request that happens to be first: the feed outlives it.
        self._task = asyncio.get_running_loop().create_task(self._run(), context=contextvars.Context())

    async def _stop(self) -> None:
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            self._thread.submit(_let_go)

    async def _run(self) -> None:
        async with doorbell.listen("web") as self._bell:
            while True:
                self._hand_out(await self._read())
                pause, rest = self._pace()
                await asyncio.sleep(pause)
                await doorbell.wait(self._bell, rest)

    def _hand_out(self, messages: list[Message] | None) -> None:
        for mailbox in self._mailboxes:
            if messages is None:
                mailbox.start_over()
            for message in messages or ():
                mailbox.put(message)

    def _pace(self) -> tuple[float, float]:
        """Seconds to let changes gather, then seconds to wait for a ring."""
        if any(mailbox.urgent for mailbox in self._mailboxes):
            return URGENT_SECONDS / 2, URGENT_SECONDS / 2
        return BUNDLE_SECONDS, IDLE_SECONDS - BUNDLE_SECONDS

    async def _read(self) -> list[Message] | None:
        try:
            messages = await asyncio.get_running_loop().run_in_executor(self._thread, self._reading.advance)
        except Exception:  # whatever it is: those who watch must not stay without a feed
            log.exception("feed.not_read")
            self._thread.submit(_let_go)
            await asyncio.sleep(IDLE_SECONDS)
            return []
        self._is_ready.set()
        return messages


class Reading:
    """How far the feed has read. Everything here runs in the feed's one thread."""

    def __init__(self) -> None:
        self._known = -1
        self._sent = -1
        self._silences = status.AgentLiveness()
        self._snapshot = ("", -1, 0.0)  # text, its revision, when

    def advance(self) -> list[Message] | None:
        """Messages for everything written since the last call; one query when nothing was. None: start over."""
        seen = status.pulse()
        known, self._known = self._known, seen.revision
        has_flipped = self._silences.flipped(seen)
        if known < 0:
            self._sent = seen.revision
            return []
        found = None if has_flipped else status.changes(known, seen)
        if found is None:
            self._sent, self._snapshot = seen.revision, ("", -1, 0.0)
            return None
        return [*self._delta(found, seen.revision), *_events(known, seen.revision)]

    def _delta(self, found: Changes, revision: int) -> list[Message]:
        if not found["programs"] and not found["removed"]:
            return []
        delta: Delta = {"type": "delta", "revision": revision, "previous": self._sent, **found}
        self._sent = revision
        return [Message(_text(delta), {program["id"]: program for program in found["programs"]})]

    def snapshot(self) -> str:
        text, revision, at = self._snapshot
        if revision < self._known or time.monotonic() - at > SNAPSHOT_SECONDS:
            report = status.report()
            message: Snapshot = {
                "type": "snapshot",
                "revision": report["revision"],
                "programs": report["programs"],
            }
            text = _text(message)
            self._snapshot = (text, report["revision"], time.monotonic())
        return text


def _let_go() -> None:
    """Looked up here and not by the caller: every thread has a connection of its own behind that name."""
    connection.close()


def _events(after: int, up_to: int) -> list[Message]:
    """The newest events between two revisions, oldest first."""
    if after == up_to:
        return []
    rows = ProgramEvent.objects.filter(seq__gt=after, seq__lte=up_to).order_by("-seq")[:EVENTS_AT_ONCE]
    messages: list[EventMessage] = [{"type": "event", "event": events.as_json(row)} for row in rows]
    return [Message(_text(message)) for message in reversed(messages)]


def _text(message: Snapshot | Delta | EventMessage) -> str:
    return orjson.dumps(message).decode()


_feeds: WeakKeyDictionary[asyncio.AbstractEventLoop, Feed] = WeakKeyDictionary()


def current() -> Feed:
    """The feed of the running loop: one for a web process."""
    return _feeds.setdefault(asyncio.get_running_loop(), Feed())
