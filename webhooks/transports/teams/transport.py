"""https://learn.microsoft.com/microsoftteams/platform/webhooks-and-connectors/how-to/connectors-using

Sends an adaptive card to the workflow "Post to a channel when a webhook request is received".
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any

import orjson
from pydantic import ConfigDict

from core.http import OutgoingResponse
from webhooks.transports.base import TransportSettings
from webhooks.transports.chat import ChatTransport, response_json
from webhooks.transports.message import Digest, EventMessage, MessageTone
from webhooks.transports.text import cut

MAX_BYTES = 27 * 1024  # Teams accepts 28 KB
MAX_LINE = 300
STYLES = {
    MessageTone.GOOD: "good",
    MessageTone.INFO: "accent",
    MessageTone.WARNING: "warning",
    MessageTone.ERROR: "attention",
}
# Status codes of a revoked or removed workflow URL.
GONE = (401, 404)
# Error codes of a disabled or removed workflow; they come with status 400.
FINAL_CODES = frozenset({"WorkflowTriggerIsNotEnabled", "WorkflowNotFound", "WorkflowDisabled"})

Element = dict[str, Any]


class TeamsSettings(TransportSettings):
    model_config = ConfigDict(json_schema_extra={"examples": [{}]})


class Teams(ChatTransport[TeamsSettings]):
    kind = "teams"
    label = "Microsoft Teams"
    url_hint = "https://….logic.azure.com/workflows/…"
    url_help = "In Teams: the workflow “Post to a channel when a webhook request is received”."
    digest_room = MAX_BYTES // 4  # each line is an element of its own, and characters take up to four bytes
    Settings = TeamsSettings

    def card(self, message: EventMessage, settings: TeamsSettings, url: str) -> dict[str, Any]:
        head = [_head(f"{message.sign} {escape(message.headline)}", message.tone)]
        if message.meaning:
            head.append(_text(escape(message.meaning)))
        facts = [{"title": label, "value": value} for label, value in message.escaped_facts(escape, _reader_time)]
        head.append({"type": "FactSet", "facts": [*facts, {"title": "Event", "value": escape(message.type)}]})
        log = [_text(escape(cut(line, MAX_LINE)), monospaced=True) for line in message.log_lines]
        return _fit_to_size(head, log, message.link)

    def digest(self, digest: Digest, settings: TeamsSettings, url: str) -> dict[str, Any]:
        head = [_head(f"{digest.sign} {escape(digest.headline)}", digest.tone)]
        return _fit_to_size(head, [_text(escape(line)) for line in digest.lines], digest.link)

    def escape_line(self, line: str) -> str:
        return escape(line)

    def is_permanent(self, response: OutgoingResponse) -> bool:
        error = response_json(response.body_head).get("error")
        code = error.get("code") if isinstance(error, dict) else None
        return response.status in GONE or (response.status == 400 and code in FINAL_CODES)


def _head(text: str, tone: MessageTone) -> Element:
    title = _text(text) | {"weight": "bolder", "size": "medium"}
    return {"type": "Container", "style": STYLES[tone], "bleed": True, "items": [title]}


def _text(text: str, *, monospaced: bool = False) -> Element:
    block: Element = {"type": "TextBlock", "text": text, "wrap": True}
    return block | ({"fontType": "monospace", "spacing": "none", "size": "small"} if monospaced else {})


def _reader_time(at: datetime, text: str) -> str:
    # Teams accepts no fractions of a second here.
    stamp = f"{at:%Y-%m-%dT%H:%M:%SZ}"
    return f"{{{{DATE({stamp},SHORT)}}}} {{{{TIME({stamp})}}}}"


def _fit_to_size(head: list[Element], lines: list[Element], link: str) -> dict[str, Any]:
    # The oldest lines are dropped first: the newest say most about a crash.
    while True:
        payload = _payload(head, lines, link)
        if not lines or len(orjson.dumps(payload)) <= MAX_BYTES:
            return payload
        lines = lines[1:]


def _payload(head: list[Element], lines: list[Element], link: str) -> dict[str, Any]:
    box = [{"type": "Container", "style": "emphasis", "items": lines}] if lines else []
    card: dict[str, Any] = {
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.4",
        "msteams": {"width": "Full"},
        "body": [*head, *box],
    }
    if link:
        card["actions"] = [{"type": "Action.OpenUrl", "title": "Open in the monitor", "url": link}]
    content = {"contentType": "application/vnd.microsoft.card.adaptive", "contentUrl": None, "content": card}
    return {"type": "message", "attachments": [content]}


def escape(text: str) -> str:
    """Escapes the Markdown of adaptive cards and their functions such as `{{DATE(…)}}`."""
    # A number with a dot is a list only before a space; elsewhere the backslash would be shown.
    escaped = re.sub(r"([\\*_\[\]`~]|^[#>+-])", r"\\\1", text)
    return re.sub(r"^(\d+)(?=[.)](?:\s|$))", "\\1\u200b", escaped).replace("{{", "{\u200b{")


TRANSPORT = Teams()
