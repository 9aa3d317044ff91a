from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ConfigDict

from core.http import OutgoingRequest
from webhooks.transports.base import JSON, Body, Transport, TransportSettings, json_bytes


class StandardSettings(TransportSettings):
    model_config = ConfigDict(json_schema_extra={"examples": [{}]})


class Standard(Transport[StandardSettings]):
    kind = "standard"
    label = "Signed JSON (Standard Webhooks)"
    url_hint = "https://example.com/hooks/monitor"
    url_help = "Your own service, or one that supports Standard Webhooks. Each request is signed."
    is_chat = False
    is_signed = True
    Settings = StandardSettings

    def render(self, body: Body, url: str, settings: Mapping[str, Any]) -> OutgoingRequest:
        self.parse(settings)
        return OutgoingRequest("POST", url, {"Content-Type": JSON}, json_bytes(body))


TRANSPORT = Standard()
