"""Base class of the chat formats: one event becomes a card, several become a digest, both posted as JSON."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from core.http import OutgoingRequest, OutgoingResponse

from .base import JSON, Body, S, Transport, json_bytes
from .message import Digest, EventMessage, build_digest, build_message
from .text import cut

ERROR_KEYS = ("description", "message", "error", "detail", "code")
MAX_ERROR = 200


class ChatTransport(Transport[S]):
    is_chat = True

    @abstractmethod
    def card(self, message: EventMessage, settings: S, url: str) -> dict[str, Any]:
        """The JSON for one event; `url` tells services apart that share a format."""

    @abstractmethod
    def digest(self, digest: Digest, settings: S, url: str) -> dict[str, Any]:
        """The JSON for several events."""

    def address(self, url: str, settings: S) -> str:
        return url

    def render(self, body: Body, url: str, settings: Mapping[str, Any]) -> OutgoingRequest:
        parsed = self.parse(settings)
        return self._post_request(self.card(build_message(body), parsed, url), url, parsed)

    def render_bundle(self, bodies: Sequence[Body], url: str, settings: Mapping[str, Any]) -> OutgoingRequest:
        if len(bodies) == 1:
            return self.render(bodies[0], url, settings)
        parsed = self.parse(settings)
        return self._post_request(self.digest(build_digest(bodies), parsed, url), url, parsed)

    def error_sentence(self, response: OutgoingResponse) -> str:
        if found := response_json(response.body_head):
            inner = found.get("error")
            texts = [(inner if isinstance(inner, dict) else found).get(key) for key in ERROR_KEYS]
            said = next((text for text in texts if isinstance(text, str)), "")
        else:
            said = response.body_head.decode(errors="replace")
        said = " ".join(said.split())
        # Error pages of proxies say nothing that people can use.
        return "" if said.startswith(("<", "{", "[")) else cut(said, MAX_ERROR)

    def _post_request(self, payload: dict[str, Any], url: str, settings: S) -> OutgoingRequest:
        return OutgoingRequest("POST", self.address(url, settings), {"Content-Type": JSON}, json_bytes(payload))


def response_json(body_head: bytes) -> dict[str, Any]:
    """Empty if the response is not a JSON object, or was cut off."""
    try:
        found = orjson.loads(body_head)
    except orjson.JSONDecodeError:
        return {}
    return found if isinstance(found, dict) else {}


def parse_seconds(value: Any) -> float | None:
    return float(value) if type(value) in (int, float) and 0 < value <= 86_400 else None
