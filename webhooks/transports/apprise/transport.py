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
    EventMessage,
    MessageTone,
    build_digest,
    build_message,
    cut,
    last_lines,
    length,
)

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
        return _request(url, message.headline, _text(message), message.tone)

    def render_bundle(self, bodies: Sequence[Body], url: str, settings: Mapping[str, Any]) -> OutgoingRequest:
        if len(bodies) == 1:
            return self.render(bodies[0], url, settings)
        self.parse(settings)
        digest = build_digest(bodies)
        return _request(
            url, digest.headline, last_lines(digest.lines, MAX_DIGEST, longest=MAX_DIGEST_LINE), digest.tone
        )

    def fits(self, bodies: Sequence[Body]) -> bool:
        lines = [cut(line, MAX_DIGEST_LINE) for line in build_digest(bodies).lines]
        return length("\n".join(lines)) <= MAX_DIGEST

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


def _request(url: str, title: str, text: str, tone: MessageTone) -> OutgoingRequest:
    message = {"title": cut(title, MAX_TITLE), "body": text or title, "type": TYPES[tone]}
    return OutgoingRequest("APPRISE", url, {}, json_bytes(message))


def _text(message: EventMessage) -> str:
    parts = [message.headline] if len(message.headline) > MAX_TITLE else []
    parts += [message.meaning] if message.meaning else []
    parts += [f"{label}: {value}" for label, value in message.facts]
    parts += ["", *message.log_lines] if message.log_lines else []
    parts += ["", message.link] if message.link else []
    return "\n".join(parts).strip()


def _response(result: dict[str, Any], url: str, duration_ms: int) -> OutgoingResponse:
    output = masked_text(result["text"], url)
    if result["outcome"] in ("refused", "unusable"):
        raise RefusedError(output or "Apprise does not accept this URL.")
    if result["outcome"] == "failed":
        raise TransportError("failed", output)
    return OutgoingResponse(200, {}, output.encode(), duration_ms, result.get("peer", ""))


TRANSPORT = AppriseTransport()
