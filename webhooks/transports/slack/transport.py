"""https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks"""

from __future__ import annotations

import re
from typing import Any

from pydantic import ConfigDict, Field

from core.http import OutgoingResponse
from webhooks.transports.base import TransportSettings
from webhooks.transports.chat import ChatTransport
from webhooks.transports.message import MAX_DIGEST_LINE, Digest, EventMessage, MessageTone, cut, last_lines, length

MAX_TEXT = 3000
MAX_FIELD = 2000
COLOURS = {
    MessageTone.GOOD: "#2e9e5b",
    MessageTone.INFO: "#4b7bec",
    MessageTone.WARNING: "#e8a317",
    MessageTone.ERROR: "#d9363e",
}
# Responses that mean that the URL is no longer valid: the hook, its channel or workspace was removed.
FINAL_ERRORS = frozenset(
    {
        "action_prohibited",
        "channel_is_archived",
        "channel_not_found",
        "invalid_token",
        "no_active_hooks",
        "no_service",
        "no_service_id",
        "no_team",
        "posting_to_general_channel_denied",
        "team_disabled",
        "user_not_found",
    }
)
MENTION = r"^(|<!here>|<!channel>|<@[UW][A-Z0-9]{1,30}>|<!subteam\^S[A-Z0-9]{1,30}>)$"


class SlackSettings(TransportSettings):
    model_config = ConfigDict(json_schema_extra={"examples": [{"mention": "<!here>"}]})

    mention: str = Field(
        "",
        pattern=MENTION,
        title="Mention on errors",
        description="<!here>, <!channel>, <@U…> for a person or <!subteam^S…> for a group.",
    )


class Slack(ChatTransport[SlackSettings]):
    kind = "slack"
    label = "Slack"
    url_hint = "https://hooks.slack.com/services/…/…/…"
    url_help = "In Slack: an app with Incoming Webhooks. Also works with Mattermost and Rocket.Chat."
    digest_room = MAX_TEXT
    Settings = SlackSettings

    def card(self, message: EventMessage, settings: SlackSettings) -> dict[str, Any]:
        return _payload(f"{message.sign} *{escape(message.headline)}*", message.tone, _blocks(message), settings)

    def digest(self, digest: Digest, settings: SlackSettings) -> dict[str, Any]:
        text = last_lines(digest.lines, MAX_TEXT, escape, longest=MAX_DIGEST_LINE)
        return _payload(f"{digest.sign} *{escape(digest.headline)}*", digest.tone, [_section(text)], settings)

    def escape_line(self, line: str) -> str:
        return escape(line)

    def is_permanent(self, response: OutgoingResponse) -> bool:
        error = response.body_head[:100].decode(errors="replace").strip()
        return response.status == 404 or (response.status >= 400 and error in FINAL_ERRORS)


def _payload(
    text: str, tone: MessageTone, blocks: list[dict[str, Any]], settings: SlackSettings
) -> dict[str, Any]:
    mention = f"{settings.mention} " if settings.mention and tone is MessageTone.ERROR else ""
    return {
        "text": mention + _cut(text, MAX_TEXT - length(mention)),
        "attachments": [{"color": COLOURS[tone], "blocks": blocks}],
        "unfurl_links": False,
        "unfurl_media": False,
    }


def _blocks(message: EventMessage) -> list[dict[str, Any]]:
    blocks = [_section(_cut(escape(message.meaning), MAX_TEXT))] if message.meaning else []
    if message.facts:
        # Slack allows ten fields in a section.
        texts = [_cut(f"*{label}*\n{escape(value)}", MAX_FIELD) for label, value in message.facts[:10]]
        blocks.append({"type": "section", "fields": [{"type": "mrkdwn", "text": text} for text in texts]})
    if lines := last_lines(message.log_lines, MAX_TEXT - 10, fenced):
        blocks.append(_section(f"```{lines}```"))
    link = f"<{escape(message.link)}|Open in the monitor> · " if message.link else ""
    blocks.append({"type": "context", "elements": [{"type": "mrkdwn", "text": f"{link}{escape(message.type)}"}]})
    return blocks


def _section(text: str) -> dict[str, Any]:
    return {"type": "section", "text": {"type": "mrkdwn", "text": text or "—"}}


def escape(text: str) -> str:
    # Markers only work at the edge of a word; a zero-width space there disables them.
    return re.sub(r"(?<![^\W_])[*_~`]|[*_~`](?![^\W_])", "\u200b\\g<0>", _entities(text))


def fenced(line: str) -> str:
    # A zero-width space: the line must not close its code block.
    return _entities(line).replace("```", "`\u200b`\u200b`")


def _entities(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _cut(text: str, limit: int) -> str:
    shorter = cut(text, limit)
    head, mark, tail = shorter.rpartition("&")
    # Never cut within an entity such as `&amp;`.
    return f"{head}…" if shorter != text and mark and ";" not in tail else shorter


TRANSPORT = Slack()
