from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ConfigDict

from core.http import OutgoingRequest, Policy
from webhooks.transports.base import JSON, Body, Transport, TransportSettings, json_bytes
from webhooks.transports.headers import HeaderLines, SecretHeaderLines, entered_headers


class StandardSettings(TransportSettings):
    model_config = ConfigDict(json_schema_extra={"examples": [{"secret_headers": "Authorization: Bearer …"}]})

    headers: HeaderLines = ""
    secret_headers: SecretHeaderLines = ""


class Standard(Transport[StandardSettings]):
    kind = "standard"
    label = "Signed JSON (Standard Webhooks)"
    url_hint = "https://example.com/hooks/monitor"
    url_help = "Your own service, or one that supports Standard Webhooks. Each request is signed."
    is_chat = False
    is_signed = True
    Settings = StandardSettings

    def check(self, url: str, settings: Mapping[str, Any], policy: Policy) -> None:
        super().check(url, settings, policy)
        _headers(self.parse(settings))

    def render(self, body: Body, url: str, settings: Mapping[str, Any]) -> OutgoingRequest:
        return OutgoingRequest("POST", url, _headers(self.parse(settings)), json_bytes(body))


def _headers(settings: StandardSettings) -> dict[str, str]:
    return entered_headers(f"{settings.headers}\n{settings.secret_headers}", JSON)


TRANSPORT = Standard()
