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
from webhooks.transports.message import Message, Tone, digest_of, message_of
from webhooks.transports.text_limits import cut

from .process import KILL_SECONDS, MOST_AT_A_TIME, ask, masked_text, order, talk
from .schemas import SCHEMAS

if TYPE_CHECKING:
    from core.http import Client

LONGEST_TITLE = 250
LEAST_SECONDS = 10.0
TYPES = {Tone.GOOD: "success", Tone.INFO: "info", Tone.WARNING: "warning", Tone.ERROR: "failure"}


class AppriseSettings(TransportSettings):
    """Nothing to set: everything is in the URL."""

    model_config = ConfigDict(json_schema_extra={"examples": [{}]})


class AppriseTransport(Transport[AppriseSettings]):
    """The request it renders is no HTTP: method `APPRISE`, and the message as JSON for the sending process."""

    kind = "apprise"
    label = "Other service (Apprise URL)"
    url_hint = "ntfy://…, mailtos://…, gotify://…, pover://…"
    url_help = "ntfys://my-topic, mailtos://user:password@example.com and 230 more: see Apprise's services."
    dials_itself = True
    Settings = AppriseSettings

    def __init__(self) -> None:
        # Each process takes 40 MB for a second: many endpoints must not start them all at once.
        self._places: WeakKeyDictionary[Client, asyncio.Semaphore] = WeakKeyDictionary()

    def check(self, url: str, settings: Mapping[str, Any], policy: Policy) -> None:
        """Asks Apprise itself, in a process of its own; takes half a second."""
        self.parse(settings)
        schema, separator, _ = url.partition("://")
        if not separator or schema.lower() not in SCHEMAS:
            raise RefusedError(
                f"{schema[:30]!r} is none of the services that can be used; see docs/webhook-formats.md."
            )
        try:
            answer = ask(order(url, policy, only_check=True))
        except TransportError as error:
            raise RefusedError(f"The URL could not be checked: {error.text}") from None
        if answer["outcome"] != "sent":
            said = masked_text(answer["text"], url)
            raise RefusedError(f"Apprise cannot use this URL. {said}".strip())

    def masked(self, url: str) -> str:
        """The service alone: what stands behind it is different for each, and most of it secret."""
        return f"{url.partition('://')[0]}://{MASK}"

    def render(self, body: Body, url: str, settings: Mapping[str, Any]) -> OutgoingRequest:
        self.parse(settings)
        message = message_of(body)
        return _request(url, message.headline, _text(message), message.tone)

    def render_bundle(self, bodies: Sequence[Body], url: str, settings: Mapping[str, Any]) -> OutgoingRequest:
        if len(bodies) == 1:
            return self.render(bodies[0], url, settings)
        self.parse(settings)
        digest = digest_of(bodies)
        return _request(url, digest.headline, "\n".join(digest.lines), digest.tone)

    async def send(self, client: Client, request: OutgoingRequest, *, deadline: float) -> OutgoingResponse:
        """Takes at least 10 s before it gives up, since a process needs some to begin, and at most 20 s."""
        started = time.monotonic()
        ends = started + min(max(deadline, LEAST_SECONDS), KILL_SECONDS)
        async with self._place(client, ends - LEAST_SECONDS / 2 - started):
            seconds = ends - time.monotonic()
            message = {"seconds": math.ceil(seconds), **json.loads(request.body)}
            answer = await talk(order(request.url, client.policy, **message), seconds)
        return _response(answer, request.url, round((time.monotonic() - started) * 1000))

    @asynccontextmanager
    async def _place(self, client: Client, seconds: float) -> AsyncIterator[None]:
        """One of the few processes at a time. Raises TransportError when none ends within `seconds`."""
        places = self._places.setdefault(client, asyncio.Semaphore(MOST_AT_A_TIME))
        try:
            async with asyncio.timeout(seconds):
                await places.acquire()
        except TimeoutError:
            raise TransportError(
                "failed", "Too many messages through Apprise at a time.", connected=False
            ) from None
        try:
            yield
        finally:
            places.release()


def _request(url: str, title: str, text: str, tone: Tone) -> OutgoingRequest:
    message = {"title": cut(title, LONGEST_TITLE), "body": text or title, "type": TYPES[tone]}
    return OutgoingRequest("APPRISE", url, {}, json_bytes(message))


def _text(message: Message) -> str:
    parts = [message.headline] if len(message.headline) > LONGEST_TITLE else []
    parts += [message.meaning] if message.meaning else []
    parts += [f"{label}: {value}" for label, value in message.facts]
    parts += ["", *message.log_lines] if message.log_lines else []
    parts += ["", message.link] if message.link else []
    return "\n".join(parts).strip()


def _response(answer: dict[str, Any], url: str, duration_ms: int) -> OutgoingResponse:
    said = masked_text(answer["text"], url)
    if answer["outcome"] in ("refused", "unusable"):
        raise RefusedError(said or "Apprise cannot use this URL.")
    if answer["outcome"] == "failed":
        raise TransportError("failed", said)
    return OutgoingResponse(200, {}, said.encode(), duration_ms, answer.get("peer", ""))


TRANSPORT = AppriseTransport()
