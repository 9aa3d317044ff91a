"""https://core.telegram.org/bots/api#sendmessage"""

from __future__ import annotations

import html
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from pydantic import ConfigDict, Field

from core.http import OutgoingResponse, Policy, RefusedError
from core.masking import MASK
from webhooks.transports.base import TransportSettings
from webhooks.transports.chat import ChatTransport, parse_seconds, response_json
from webhooks.transports.message import MAX_DIGEST_LINE, Digest, EventMessage, MessageTone, last_lines, length

MAX_TEXT = 4096
BOT_PATH = re.compile(r"(?P<base>(?:/[\w.-]+)*/bot)(?P<token>\d+:[\w-]+)(?:/sendMessage)?/?")
# Revoked token, bot removed from the chat, unknown bot.
GONE = (401, 403, 404)
NO_CHAT = "chat not found"


class TelegramSettings(TransportSettings):
    model_config = ConfigDict(json_schema_extra={"examples": [{"chat_id": "-1001234567890"}]})

    chat_id: str = Field(
        pattern=r"^(-?\d{1,20}|@\w{3,40})$",
        title="Chat",
        description="Id of the chat, or @name of a channel.",
    )
    thread_id: str = Field("", pattern=r"^\d{0,20}$", title="Topic", description="Id of a topic in a group.")
    silent_below_error: bool = Field(False, title="Notify silently unless it is an error")


class Telegram(ChatTransport[TelegramSettings]):
    kind = "telegram"
    label = "Telegram"
    url_hint = "https://api.telegram.org/bot<token>"
    url_help = "Create a bot with @BotFather and add it to the chat. BotFather shows the token."
    digest_room = MAX_TEXT - 200  # below the headline
    Settings = TelegramSettings

    def check(self, url: str, settings: Mapping[str, Any], policy: Policy) -> None:
        super().check(url, settings, policy)
        if not BOT_PATH.fullmatch(urlsplit(url).path):
            raise RefusedError("Enter https://api.telegram.org/bot followed by the token from BotFather.")

    def masked(self, url: str) -> str:
        # The bot's id stays visible: it is not secret and distinguishes bots.
        parts = urlsplit(url)
        found = BOT_PATH.fullmatch(parts.path)
        if not found:
            return super().masked(url)
        number = found["token"].partition(":")[0]
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{found['base']}{number}:{MASK}"

    def address(self, url: str, settings: TelegramSettings) -> str:
        # The URL may be entered with or without the method.
        bare = url.rstrip("/").removesuffix("/sendMessage")
        return f"{bare}/sendMessage"

    def card(self, message: EventMessage, settings: TelegramSettings) -> dict[str, Any]:
        parts = [f"{message.sign} <b>{html.escape(message.headline)}</b>"]
        parts += [html.escape(message.meaning)] if message.meaning else []
        parts += [f"{label}: {html.escape(value)}" for label, value in message.facts]
        parts.append(f"<i>{html.escape(message.type)}</i>")
        link = [f'<a href="{html.escape(message.link)}">Open in the monitor</a>'] if message.link else []
        room = MAX_TEXT - length("\n".join([*parts, *link])) - len("\n<pre></pre>")
        if lines := last_lines(message.log_lines, room, html.escape):
            parts.append(f"<pre>{lines}</pre>")
        return _payload("\n".join([*parts, *link]), message.tone, settings)

    def digest(self, digest: Digest, settings: TelegramSettings) -> dict[str, Any]:
        head = f"{digest.sign} <b>{html.escape(digest.headline)}</b>\n"
        lines = last_lines(digest.lines, MAX_TEXT - length(head), html.escape, longest=MAX_DIGEST_LINE)
        return _payload(head + lines, digest.tone, settings)

    def escape_line(self, line: str) -> str:
        return html.escape(line)

    def is_permanent(self, response: OutgoingResponse) -> bool:
        error = str(response_json(response.body_head).get("description", "")).lower()
        return response.status in GONE or (response.status == 400 and NO_CHAT in error)

    def rate_limited(self, response: OutgoingResponse) -> float | None:
        parameters = response_json(response.body_head).get("parameters")
        return parse_seconds(parameters.get("retry_after")) if isinstance(parameters, dict) else None


def _payload(text: str, tone: MessageTone, settings: TelegramSettings) -> dict[str, Any]:
    payload: dict[str, Any] = {
        "chat_id": settings.chat_id,
        "text": text,
        "parse_mode": "HTML",
        "link_preview_options": {"is_disabled": True},
        "disable_notification": settings.silent_below_error and tone is not MessageTone.ERROR,
    }
    return payload | ({"message_thread_id": int(settings.thread_id)} if settings.thread_id else {})


TRANSPORT = Telegram()
