"""https://discord.com/developers/docs/resources/webhook#execute-webhook"""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from pydantic import ConfigDict, Field

from core.http import OutgoingResponse
from webhooks.transports.base import TransportSettings
from webhooks.transports.chat import ChatTransport, parse_seconds, response_json
from webhooks.transports.message import MAX_DIGEST_LINE, Digest, EventMessage, MessageTone, cut, last_lines, length

MAX_CONTENT = 2000
MAX_DESCRIPTION = 4096
MAX_EMBED = 6000
MAX_FIELD = 1024
COLOURS = {
    MessageTone.GOOD: 0x2E9E5B,
    MessageTone.INFO: 0x4B7BEC,
    MessageTone.WARNING: 0xE8A317,
    MessageTone.ERROR: 0xD9363E,
}
# Status codes of a deleted webhook.
GONE = (401, 404)


class DiscordSettings(TransportSettings):
    model_config = ConfigDict(json_schema_extra={"examples": [{"username": "Monitor"}]})

    username: str = Field("", max_length=80, title="Shown as", description="Empty: the name of the webhook.")
    thread_id: str = Field("", pattern=r"^\d{0,20}$", title="Thread", description="Id of a thread to post to.")
    mention_role: str = Field(
        "", pattern=r"^\d{0,20}$", title="Role to mention", description="Id of a role to mention on errors."
    )


class Discord(ChatTransport[DiscordSettings]):
    kind = "discord"
    label = "Discord"
    url_hint = "https://discord.com/api/webhooks/…/…"
    url_help = "In Discord: edit the channel, Integrations, Webhooks, Copy Webhook URL."
    digest_room = MAX_DESCRIPTION
    Settings = DiscordSettings

    def card(self, message: EventMessage, settings: DiscordSettings) -> dict[str, Any]:
        return self._payload(
            f"{message.sign} **{escape(message.headline)}**", message.tone, _embed(message), settings
        )

    def digest(self, digest: Digest, settings: DiscordSettings) -> dict[str, Any]:
        text = last_lines(digest.lines, MAX_DESCRIPTION, escape, longest=MAX_DIGEST_LINE)
        embed = {"description": text, "color": COLOURS[digest.tone]}
        return self._payload(f"{digest.sign} **{escape(digest.headline)}**", digest.tone, embed, settings)

    def escape_line(self, line: str) -> str:
        return escape(line)

    def _payload(
        self, content: str, tone: MessageTone, embed: dict[str, Any], settings: DiscordSettings
    ) -> dict[str, Any]:
        role = settings.mention_role if tone is MessageTone.ERROR else ""
        mention = f"<@&{role}> " if role else ""
        payload: dict[str, Any] = {
            "content": mention + cut(content, MAX_CONTENT - length(mention)),
            "embeds": [embed],
            # Log lines of programs must not mention anyone.
            "allowed_mentions": {"parse": [], "roles": [role] if role else []},
        }
        return payload | ({"username": settings.username} if settings.username else {})

    def address(self, url: str, settings: DiscordSettings) -> str:
        # With `wait`, Discord responds only after it has validated the message.
        own = {"wait": "true"} | ({"thread_id": settings.thread_id} if settings.thread_id else {})
        parts = urlsplit(url)
        # The others stay as they were entered.
        others = [pair for pair in parts.query.split("&") if pair and pair.partition("=")[0] not in own]
        query = "&".join([*others, *(f"{name}={value}" for name, value in own.items())])
        return urlunsplit(parts._replace(query=query))

    def is_permanent(self, response: OutgoingResponse) -> bool:
        return response.status in GONE

    def rate_limited(self, response: OutgoingResponse) -> float | None:
        return (
            parse_seconds(response_json(response.body_head).get("retry_after")) if response.status == 429 else None
        )


def _embed(message: EventMessage) -> dict[str, Any]:
    fields: list[dict[str, Any]] = [
        {"name": label, "value": cut(escape(value), MAX_FIELD), "inline": True} for label, value in message.facts
    ]
    footer = cut(message.type, 200)
    room = (
        MAX_EMBED - length(footer) - sum(length(field["name"]) + length(field["value"]) for field in fields) - 50
    )
    embed: dict[str, Any] = {
        "description": _description(message, min(room, MAX_DESCRIPTION)),
        "color": COLOURS[message.tone],
        "fields": fields,
        "footer": {"text": footer},
    }
    return embed | ({"timestamp": message.timestamp.isoformat()} if message.timestamp else {})


def _description(message: EventMessage, room: int) -> str:
    parts = [escape(message.meaning)] if message.meaning else []
    link = f"[Open in the monitor]({message.link.replace(')', '%29')})" if message.link else ""
    room -= length("\n".join(parts)) + length(link) + len("```\n\n```\n\n")
    if lines := last_lines(message.log_lines, room, fenced):
        parts.append(f"```\n{lines}\n```")
    return "\n".join([*parts, link]) if link else "\n".join(parts)


def escape(text: str) -> str:
    return re.sub(r"([\\*_~`|<>\[\]]|^[#-])", r"\\\1", text)


def fenced(line: str) -> str:
    # A zero-width space: the line must not close its code block.
    return line.replace("```", "`\u200b`\u200b`")


TRANSPORT = Discord()
