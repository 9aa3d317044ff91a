"""Base class of the chat formats: one event becomes a card, several become a digest, both posted as JSON."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import orjson

from core.http import OutgoingRequest, OutgoingResponse

from .base import JSON, Body, S, Transport, json_bytes
from .message import MAX_DIGEST_LINE, Digest, EventMessage, build_digest, build_message
from .text import cut, last_lines, length

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

    digest_room: ClassVar[int]  # how long the lines and the link of a digest may be together

    @abstractmethod
    def escape_line(self, line: str) -> str:
        """A line of a digest."""

    def digest_link(self, url: str) -> str:
        return url

    def digest_text(self, digest: Digest) -> str:
        """The last lines that fit, and the link."""
        lines = last_lines(digest.lines, self._line_room(digest), self.escape_line, longest=MAX_DIGEST_LINE)
        return "\n".join(filter(None, (lines, self.digest_link(digest.link))))

    def fits(self, bodies: Sequence[Body]) -> bool:
        digest = build_digest(bodies)
        lines = [self.escape_line(cut(line, MAX_DIGEST_LINE)) for line in digest.lines]
        return length("\n".join(lines)) <= self._line_room(digest)

    def _line_room(self, digest: Digest) -> int:
        link = self.digest_link(digest.link)
        return self.digest_room - length(f"\n{link}" if link else "")

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
    """Seconds from a number or its text; None for anything else, and for infinity."""
    try:
        seconds = float(value) if type(value) in (int, float, str) else 0.0
    except (ValueError, OverflowError):
        return None
    return seconds if 0 < seconds < math.inf else None
