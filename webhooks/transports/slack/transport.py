"""https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks"""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from pydantic import ConfigDict, Field

from core.http import OutgoingResponse
from webhooks.transports.base import TransportSettings
from webhooks.transports.chat import ChatTransport
from webhooks.transports.message import Digest, EventMessage, MessageTone
from webhooks.transports.text import cut, last_lines, length, without_links

MAX_TEXT = 3000
SLACK_HOSTS = (".slack.com", ".slack-gov.com")
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

    def card(self, message: EventMessage, settings: SlackSettings, url: str) -> dict[str, Any]:
        parts = {"blocks": _blocks(message)} if _is_slack(url) else _portable_parts(message)
        return _payload(f"{message.sign} *{escape(message.headline)}*", message.tone, parts, settings)

    def digest(self, digest: Digest, settings: SlackSettings, url: str) -> dict[str, Any]:
        text = self.digest_text(digest)
        parts = {"blocks": [_section(text)]} if _is_slack(url) else {"text": text}
        return _payload(f"{digest.sign} *{escape(digest.headline)}*", digest.tone, parts, settings)

    def escape_line(self, line: str) -> str:
        return escape(line)

    def digest_link(self, url: str) -> str:
        return _link(url)

    def is_permanent(self, response: OutgoingResponse) -> bool:
        error = response.body_head[:100].decode(errors="replace").strip()
        return response.status == 404 or (response.status >= 400 and error in FINAL_ERRORS)


def _is_slack(url: str) -> bool:
    """Mattermost and Rocket.Chat take the same messages, but ignore blocks."""
    host = urlsplit(url).hostname or ""
    return host.endswith(SLACK_HOSTS)


def _payload(text: str, tone: MessageTone, parts: dict[str, Any], settings: SlackSettings) -> dict[str, Any]:
    mention = f"{settings.mention} " if settings.mention and tone is MessageTone.ERROR else ""
    fallback = _cut(text.replace("*", ""), MAX_TEXT)
    return {
        "text": mention + _cut(text, MAX_TEXT - length(mention)),
        "attachments": [{"color": COLOURS[tone], "fallback": fallback, **parts}],
        "parse": "none",
        "link_names": False,
        "unfurl_links": False,
        "unfurl_media": False,
    }


def _portable_parts(message: EventMessage) -> dict[str, Any]:
    texts = [_cut(escape(message.meaning), MAX_TEXT // 3)] if message.meaning else []
    texts += [_link(message.link)] if message.link else []
    room = MAX_TEXT - length("\n".join(texts)) - len("\n```\n\n```")
    if lines := last_lines(message.log_lines, room, portable_fenced):
        texts.insert(len(texts) - bool(message.link), f"```\n{lines}\n```")
    fields = [
        {"title": label, "value": _cut(value, MAX_FIELD), "short": True}
        for label, value in message.escaped_facts(escape)
    ]
    footer = {"footer": _entities(message.type), "mrkdwn_in": ["text", "fields"]}
    return {"text": "\n".join(texts), "fields": fields, **footer}


def _blocks(message: EventMessage) -> list[dict[str, Any]]:
    blocks = [_section(_cut(escape(message.meaning), MAX_TEXT))] if message.meaning else []
    if message.facts:
        # Slack allows ten fields in a section.
        facts = message.escaped_facts(escape, _reader_time)[:10]
        texts = [_cut(f"*{label}*\n{value}", MAX_FIELD) for label, value in facts]
        blocks.append(
            {"type": "section", "fields": [{"type": "mrkdwn", "text": text, "verbatim": True} for text in texts]}
        )
    if lines := last_lines(message.log_lines, MAX_TEXT - 10, fenced):
        blocks.append(_section(f"```{lines}```"))
    link = f"{_link(message.link)} · " if message.link else ""
    footer = {"type": "mrkdwn", "text": f"{link}{_entities(message.type)}", "verbatim": True}
    blocks.append({"type": "context", "elements": [footer]})
    return blocks


def _reader_time(at: datetime, text: str) -> str:
    # Clients that cannot show it show what stands behind the bar.
    return f"<!date^{int(at.timestamp())}^{{date_num}} {{time_secs}}|{text}>"


def _link(url: str) -> str:
    return f"<{_entities(url)}|Open in the monitor>" if url else ""


def _section(text: str) -> dict[str, Any]:
    return {"type": "section", "text": {"type": "mrkdwn", "text": text or "—", "verbatim": True}}


def escape(text: str) -> str:
    # Markers only work at the edge of a word; a zero-width space there disables them. `](` is Mattermost's link.
    quiet = without_links(text).replace("](", "]\u200b(")
    return re.sub(r"(?<![^\W_])[*_~`]|[*_~`](?![^\W_])", "\u200b\\g<0>", _entities(quiet))


def portable_fenced(line: str) -> str:
    # Mattermost shows entities in code as they are, and expands `<!channel>` before it looks for code.
    return re.sub(r"```|<(?=[!@#])", lambda found: "\u200b".join([*found[0], ""]), line)


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
