"""Helpers for the tests of the routes."""

from __future__ import annotations

from typing import Any

from programs.tests.api_rig import Api
from webhooks.models import WebhookEndpoint

URL = "http://127.0.0.1:9/hook/T0P-SECRET"
DISCORD = "https://discord.com/api/webhooks/1/abcdefgh"


def create(api: Api, **values: Any) -> Any:
    status, shown = api("POST", "/webhooks", {"name": "ops", "url": URL, **values})
    assert status == 201, shown
    return shown


def stored() -> WebhookEndpoint:
    return WebhookEndpoint.objects.get()


def fields_of(body: Any) -> set[str]:
    return {error["field"] for error in body["errors"]}
