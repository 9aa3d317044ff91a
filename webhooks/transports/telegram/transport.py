"""https://core.telegram.org/bots/api#sendmessage"""

from __future__ import annotations

import html
import re
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import orjson
import structlog
from pydantic import ConfigDict, Field

from core.http import OutgoingRequest, OutgoingResponse, Policy, RefusedError
from core.masking import MASK
from webhooks.transports.base import TransportSettings, json_bytes
from webhooks.transports.chat import ChatTransport, parse_seconds, response_json
from webhooks.transports.message import Digest, EventMessage, MessageTone
from webhooks.transports.text import last_lines, length, without_links

if TYPE_CHECKING:
    from core.http import Client

log = structlog.get_logger(__name__)
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

    def card(self, message: EventMessage, settings: TelegramSettings, url: str) -> dict[str, Any]:
        parts = [f"{message.sign} <b>{escape(message.headline)}</b>"]
        parts += [escape(message.meaning)] if message.meaning else []
        parts += [f"{label}: {value}" for label, value in message.escaped_facts(escape)]
        parts.append(f"<i>{html.escape(message.type)}</i>")
        link = _link(message.link)
        room = MAX_TEXT - length("\n".join([*parts, *link])) - len("\n<pre></pre>")
        if lines := last_lines(message.log_lines, room, html.escape):
            parts.append(f"<pre>{lines}</pre>")
        return _payload("\n".join([*parts, *link]), message.tone, settings)

    def digest(self, digest: Digest, settings: TelegramSettings, url: str) -> dict[str, Any]:
        head = f"{digest.sign} <b>{escape(digest.headline)}</b>"
        return _payload(f"{head}\n{self.digest_text(digest)}", digest.tone, settings)

    async def send(self, client: Client, request: OutgoingRequest, *, deadline: float) -> OutgoingResponse:
        """Sends again to the new id if the group became a supergroup: Telegram then refuses the old id."""
        ends_at = time.monotonic() + deadline
        response = await super().send(client, request, deadline=deadline)
        chat_id = _parameters(response).get("migrate_to_chat_id")
        if response.status != 400 or type(chat_id) is not int:
            return response
        log.warning("webhook.telegram_chat_migrated", chat_id=chat_id)
        moved = json_bytes({**orjson.loads(request.body), "chat_id": str(chat_id)})
        left = max(ends_at - time.monotonic(), 1.0)
        return await super().send(client, replace(request, body=moved), deadline=left)

    def escape_line(self, line: str) -> str:
        return escape(line)

    def digest_link(self, url: str) -> str:
        return "".join(_link(url))

    def is_permanent(self, response: OutgoingResponse) -> bool:
        error = str(response_json(response.body_head).get("description", "")).lower()
        return response.status in GONE or (response.status == 400 and NO_CHAT in error)

    def rate_limited(self, response: OutgoingResponse) -> float | None:
        return parse_seconds(_parameters(response).get("retry_after"))


def _parameters(response: OutgoingResponse) -> dict[str, Any]:
    found = response_json(response.body_head).get("parameters")
    return found if isinstance(found, dict) else {}


def _link(url: str) -> list[str]:
    return [f'<a href="{html.escape(url)}">Open in the monitor</a>'] if url else []


def escape(text: str) -> str:
    # Telegram links addresses, @names, #tags and /commands by itself, and has no option against it.
    return html.escape(without_links(text))


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
