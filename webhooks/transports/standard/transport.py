from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from core.http import OutgoingRequest
from webhooks.transports.base import JSON, Body, Transport, TransportSettings


class Settings(TransportSettings):
    """Nothing to set: everything is in the body."""


class Standard(Transport[Settings]):
    kind = "standard"
    label = "Signed JSON (Standard Webhooks)"
    url_hint = "https://example.com/hooks/monitor"
    is_chat = False
    is_signed = True
    Settings = Settings

    def render(self, body: Body, url: str, settings: Mapping[str, Any]) -> OutgoingRequest:
        self.parse(settings)
        return OutgoingRequest("POST", url, {"Content-Type": JSON}, orjson.dumps(body))


TRANSPORT = Standard()
