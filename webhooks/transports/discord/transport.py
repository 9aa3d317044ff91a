"""https://discord.com/developers/docs/resources/webhook#execute-webhook"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from pydantic import ConfigDict, Field

from core.http import OutgoingResponse, Policy
from webhooks.transports.base import SettingsError, TransportSettings
from webhooks.transports.chat import ChatTransport, parse_seconds, response_json
from webhooks.transports.message import Digest, EventMessage, MessageTone
from webhooks.transports.text import cut, last_lines, length

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
# https://docs.discord.com/developers/resources/user#usernames-and-nicknames
FORBIDDEN_IN_NAMES = ("@", "#", ":", "```", "discord", "clyde")
FORBIDDEN_NAMES = ("everyone", "here", "system message")
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

    def check(self, url: str, settings: Mapping[str, Any], policy: Policy) -> None:
        super().check(url, settings, policy)
        # Not a validator of the settings: endpoints that have such a name must still render.
        if reason := _name_error(self.parse(settings).username):
            raise SettingsError({"username": [reason]})

    def card(self, message: EventMessage, settings: DiscordSettings, url: str) -> dict[str, Any]:
        return self._payload(
            f"{message.sign} **{escape(message.headline)}**", message.tone, _embed(message), settings
        )

    def digest(self, digest: Digest, settings: DiscordSettings, url: str) -> dict[str, Any]:
        embed = {"description": self.digest_text(digest), "color": COLOURS[digest.tone]}
        return self._payload(f"{digest.sign} **{escape(digest.headline)}**", digest.tone, embed, settings)

    def escape_line(self, line: str) -> str:
        return escape(line)

    def digest_link(self, url: str) -> str:
        return _link(url)

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


def _name_error(name: str) -> str:
    folded = " ".join(name.casefold().split())
    if folded in FORBIDDEN_NAMES:
        return f"Discord does not allow the name {name}."
    found = [part for part in FORBIDDEN_IN_NAMES if part in folded]
    if found:
        return f"Discord does not allow {' and '.join(found)} in this name."
    return "Discord allows 80 characters; an emoji counts as two." if length(name) > 80 else ""


def _embed(message: EventMessage) -> dict[str, Any]:
    fields: list[dict[str, Any]] = [
        {"name": label, "value": cut(value, MAX_FIELD), "inline": True}
        for label, value in message.escaped_facts(escape, _reader_time)
    ]
    footer = cut(message.type, 200)
    room = (
        MAX_EMBED - length(footer) - sum(length(field["name"]) + length(field["value"]) for field in fields) - 50
    )
    return {
        "description": _description(message, min(room, MAX_DESCRIPTION)),
        "color": COLOURS[message.tone],
        "fields": fields,
        "footer": {"text": footer},
    }


def _reader_time(at: datetime, text: str) -> str:
    seconds = int(at.timestamp())
    return f"<t:{seconds}:D> <t:{seconds}:T>"


def _link(url: str) -> str:
    return f"[Open in the monitor]({url.replace(')', '%29')})" if url else ""


def _description(message: EventMessage, room: int) -> str:
    parts = [escape(message.meaning)] if message.meaning else []
    link = _link(message.link)
    room -= length("\n".join(parts)) + length(link) + len("```\n\n```\n\n")
    if lines := last_lines(message.log_lines, room, fenced):
        parts.append(f"```\n{lines}\n```")
    return "\n".join([*parts, link]) if link else "\n".join(parts)


def escape(text: str) -> str:
    # Everything with a scheme becomes a link.
    return re.sub(r"([\\*_~`|<>\[\]]|^[#-])", r"\\\1", text).replace("://", ":\u200b//")


def fenced(line: str) -> str:
    # A zero-width space: the line must not close its code block.
    return line.replace("```", "`\u200b`\u200b`")


TRANSPORT = Discord()
