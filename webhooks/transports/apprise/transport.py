from __future__ import annotations

import asyncio
import json
import math
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from pydantic import ConfigDict

from core.http import OutgoingRequest, OutgoingResponse, Policy, RefusedError, TransportError
from core.masking import MASK
from webhooks.transports.base import Body, Transport, TransportSettings, json_bytes
from webhooks.transports.message import (
    MAX_DIGEST_LINE,
    Digest,
    EventMessage,
    MessageTone,
    build_digest,
    build_message,
)
from webhooks.transports.text import cut, last_lines, length

from .guard import SCHEMAS
from .process import KILL_SECONDS, MAX_PROCESSES, encode_job, masked_text, run, run_async

if TYPE_CHECKING:
    from core.http import Client

MAX_TITLE = 250
MAX_DIGEST = 1000  # most services accept 1,024 characters or more
MIN_SECONDS = 10.0
TYPES = {
    MessageTone.GOOD: "success",
    MessageTone.INFO: "info",
    MessageTone.WARNING: "warning",
    MessageTone.ERROR: "failure",
}


class AppriseSettings(TransportSettings):
    model_config = ConfigDict(json_schema_extra={"examples": [{}]})


class AppriseTransport(Transport[AppriseSettings]):
    """Renders no HTTP request: its method is `APPRISE`, its body the message as JSON for the sending process."""

    kind = "apprise"
    label = "Other service (Apprise URL)"
    url_hint = "ntfy://…, mailtos://…, gotify://…, pover://…"
    url_help = (
        "ntfys://my-topic, mailtos://user:password@example.com and 230 more; see Apprise's list of services."
    )
    uses_own_client = True
    Settings = AppriseSettings

    def __init__(self) -> None:
        # Each process takes 40 MB for a second: limit how many run at once.
        self._semaphores: WeakKeyDictionary[Client, asyncio.Semaphore] = WeakKeyDictionary()

    def check(self, url: str, settings: Mapping[str, Any], policy: Policy) -> None:
        # Apprise itself parses the URL, in a process of its own; takes half a second.
        self.parse(settings)
        schema, separator, _ = url.partition("://")
        if not separator or schema.lower() not in SCHEMAS:
            raise RefusedError(f"{schema[:30]!r} is not a supported service; see docs/webhook-formats.md.")
        try:
            result = run(encode_job(url, policy, only_check=True))
        except TransportError as error:
            raise RefusedError(f"The URL could not be checked: {error.text}") from None
        if result["outcome"] != "sent":
            output = masked_text(result["text"], url)
            raise RefusedError(f"Apprise does not accept this URL. {output}".strip())

    def masked(self, url: str) -> str:
        # Only the service: the rest differs between services and is mostly secret.
        return f"{url.partition('://')[0]}://{MASK}"

    def render(self, body: Body, url: str, settings: Mapping[str, Any]) -> OutgoingRequest:
        self.parse(settings)
        message = build_message(body)
        head, tail = _text(message)
        return _request(url, message.headline, message.tone, head, message.log_lines, tail)

    def render_bundle(self, bodies: Sequence[Body], url: str, settings: Mapping[str, Any]) -> OutgoingRequest:
        if len(bodies) == 1:
            return self.render(bodies[0], url, settings)
        self.parse(settings)
        digest = build_digest(bodies)
        lines = last_lines(digest.lines, _digest_room(digest), longest=MAX_DIGEST_LINE).splitlines()
        return _request(url, digest.headline, digest.tone, "", lines, digest.link)

    def fits(self, bodies: Sequence[Body]) -> bool:
        digest = build_digest(bodies)
        lines = [cut(line, MAX_DIGEST_LINE) for line in digest.lines]
        return length("\n".join(lines)) <= _digest_room(digest)

    async def send(self, client: Client, request: OutgoingRequest, *, deadline: float) -> OutgoingResponse:
        # Starting the process takes time, so a short deadline is extended.
        started = time.monotonic()
        ends_at = started + min(max(deadline, MIN_SECONDS), KILL_SECONDS)
        async with self._slot(client, ends_at - MIN_SECONDS / 2 - started):
            seconds = ends_at - time.monotonic()
            message = {"seconds": math.ceil(seconds), **json.loads(request.body)}
            result = await run_async(encode_job(request.url, client.policy, **message), seconds)
        return _response(result, request.url, round((time.monotonic() - started) * 1000))

    @asynccontextmanager
    async def _slot(self, client: Client, seconds: float) -> AsyncIterator[None]:
        """Waits for one of MAX_PROCESSES slots. Raises TransportError if none is free within `seconds`."""
        semaphore = self._semaphores.setdefault(client, asyncio.Semaphore(MAX_PROCESSES))
        try:
            async with asyncio.timeout(seconds):
                await semaphore.acquire()
        except TimeoutError:
            raise TransportError(
                "failed", "Too many Apprise messages are being sent at once.", connected=False
            ) from None
        try:
            yield
        finally:
            semaphore.release()


def _request(
    url: str, title: str, tone: MessageTone, head: str, lines: Sequence[str], tail: str
) -> OutgoingRequest:
    # Only the sending process knows the limit of the service: it leaves out the first of `lines` until all fits.
    parts = {"head": head, "lines": list(lines), "tail": tail}
    return OutgoingRequest(
        "APPRISE", url, {}, json_bytes({"title": cut(title, MAX_TITLE), "type": TYPES[tone], **parts})
    )


def _digest_room(digest: Digest) -> int:
    return MAX_DIGEST - length(f"\n\n{digest.link}")


def _text(message: EventMessage) -> tuple[str, str]:
    """What stands before and after the log lines."""
    parts = [message.headline] if length(message.headline) > MAX_TITLE else []
    parts += [message.meaning] if message.meaning else []
    parts += [f"{label}: {value}" for label, value in message.facts]
    return "\n".join(parts), message.link


def _response(result: dict[str, Any], url: str, duration_ms: int) -> OutgoingResponse:
    output = masked_text(result["text"], url)
    if result["outcome"] in ("refused", "unusable"):
        raise RefusedError(output or "Apprise does not accept this URL.")
    if result["outcome"] == "failed":
        raise TransportError("failed", output)
    return OutgoingResponse(200, {}, output.encode(), duration_ms, result.get("peer", ""))


TRANSPORT = AppriseTransport()
