"""What all chat services have in common: events become a card, many become a digest, both posted as JSON."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from core.http import OutgoingRequest

from .base import JSON, Body, S, Transport, json_bytes
from .message import Digest, Message, digest_of, message_of


class ChatTransport(Transport[S]):
    is_chat = True

    @abstractmethod
    def card(self, message: Message, settings: S) -> dict[str, Any]:
        """The JSON that shows one event."""

    @abstractmethod
    def digest(self, digest: Digest, settings: S) -> dict[str, Any]:
        """The JSON that shows many."""

    def address(self, url: str, settings: S) -> str:
        """Where it is posted, when that is not the URL itself."""
        return url

    def render(self, body: Body, url: str, settings: Mapping[str, Any]) -> OutgoingRequest:
        parsed = self.parse(settings)
        return self._posted(self.card(message_of(body), parsed), url, parsed)

    def render_bundle(self, bodies: Sequence[Body], url: str, settings: Mapping[str, Any]) -> OutgoingRequest:
        if len(bodies) == 1:
            return self.render(bodies[0], url, settings)
        parsed = self.parse(settings)
        return self._posted(self.digest(digest_of(bodies), parsed), url, parsed)

    def _posted(self, payload: dict[str, Any], url: str, settings: S) -> OutgoingRequest:
        return OutgoingRequest("POST", self.address(url, settings), {"Content-Type": JSON}, json_bytes(payload))


def answer_json(body_head: bytes) -> dict[str, Any]:
    """The answer's JSON object, empty when it is none (or longer than what is kept)."""
    try:
        found = orjson.loads(body_head)
    except orjson.JSONDecodeError:
        return {}
    return found if isinstance(found, dict) else {}


def seconds_of(value: Any) -> float | None:
    """A sensible number of seconds to wait, or None."""
    return float(value) if type(value) in (int, float) and 0 < value <= 86_400 else None
