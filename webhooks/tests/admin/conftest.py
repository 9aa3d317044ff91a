"""Clients with roles, and endpoints with deliveries."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from html.parser import HTMLParser
from typing import Any

import pytest
from django.http import QueryDict
from django.test import Client
from django.utils import timezone

from programs.tests.admin.conftest import admin, operator, viewer, visitor
from webhooks import transports
from webhooks.admin.form import EndpointForm
from webhooks.admin.target_form import TargetForm
from webhooks.models import WebhookAttempt, WebhookDelivery, WebhookEndpoint
from webhooks.tests import rig

__all__ = ["admin", "operator", "viewer", "visitor"]

LIST = "/admin/webhooks/webhookendpoint/"
LOG = "/admin/webhooks/webhookdelivery/"
MUTES = "/admin/webhooks/webhookmute/"
HOOK = "http://127.0.0.1:9/T0P-SECRET-PATH"
DISCORD = "https://discord.com/api/webhooks/1/T0P-SECRET-PATH"
State = WebhookDelivery.State
MakeDelivery = Callable[..., WebhookDelivery]


@pytest.fixture
def ops(db: None) -> WebhookEndpoint:
    return rig.endpoint(HOOK)


@pytest.fixture
def delivery(ops: WebhookEndpoint) -> MakeDelivery:
    """`delivery(State.FAILED, status=500)` has one attempt, a pending one none."""

    def make(state: str = State.DELIVERED, *, at: datetime | None = None, **attempt: Any) -> WebhookDelivery:
        event = rig.record_event("program.crashed", exit_code=3)
        row, _created = WebhookDelivery.objects.update_or_create(
            endpoint=ops, event=event, defaults={"state": state, "created_at": at or timezone.now()}
        )
        if state != State.PENDING or attempt:
            WebhookDelivery.objects.filter(pk=row.pk).update(attempt_count=1)
            given = {"status": 200, "duration_ms": 35, "peer": "127.0.0.1", **attempt}
            WebhookAttempt.objects.create(
                delivery=row, number=1, trigger="event", started_at=timezone.now(), **given
            )
        return row

    return make


class Posted(HTMLParser):
    """The names and values that a browser would submit for an unchanged form."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.values: dict[str, list[str]] = {}
        self._area = self._select = ""
        self._disabled: list[bool] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        name = given.get("name") or ""
        if tag == "fieldset":
            self._disabled.append("disabled" in given)
        elif any(self._disabled):
            return
        elif tag == "input" and name:
            self._input(name, given)
        elif tag == "textarea":
            self._area, self.values[name] = name, [""]
        elif tag == "select":
            self._select = name
        elif tag == "option" and "selected" in given:
            self._add(self._select, given.get("value") or "")

    def _input(self, name: str, given: dict[str, str | None]) -> None:
        if given.get("type") == "submit" or (
            given.get("type") in ("checkbox", "radio") and "checked" not in given
        ):
            return
        self._add(name, given.get("value") or ("on" if given.get("type") == "checkbox" else ""))

    def _add(self, name: str, value: str) -> None:
        self.values.setdefault(name, []).append(value)

    def handle_endtag(self, tag: str) -> None:
        if tag == "fieldset":
            self._disabled.pop()
        elif tag == "textarea" and self._area:
            self.values[self._area] = [self.values[self._area][0].removeprefix("\n")]
            self._area = ""

    def handle_data(self, data: str) -> None:
        if self._area:
            self.values[self._area] = [self.values[self._area][0] + data]


def form_of(client: Client, address: str) -> dict[str, Any]:
    """The values of the endpoint's form at `address`."""
    page = client.get(address).content.decode()
    form = page.split('id="webhookendpoint_form"')[1].split("</form>")[0]
    return dict(Posted(form).values)


def filled(**changes: Any) -> dict[str, Any]:
    """The values of a new endpoint's form with the required fields filled in.

    `telegram__url` is the URL field of that format; None leaves a field out.
    """
    kind = changes.get("format", "standard")
    form = EndpointForm(instance=WebhookEndpoint(format=kind if kind in transports.kinds() else "standard"))
    untouched = Posted("".join(str(form[name]) for name in form.fields)).values
    given = {"name": "chat", "format": "standard"}
    if kind == "standard":
        given["standard-url"] = HOOK
    named = {name.replace("__", "-"): value for name, value in changes.items()}
    return {name: value for name, value in {**untouched, **given, **named}.items() if value is not None}


def bound(**changes: Any) -> EndpointForm:
    data = QueryDict(mutable=True)
    for name, value in filled(**changes).items():
        data.setlist(name, value if isinstance(value, list) else [value])
    return EndpointForm(data)


def errors_of(form: EndpointForm) -> dict[str, str]:
    """Field → errors; fields of the format as `target-…`."""
    found = {name: " ".join(map(str, texts)) for name, texts in form.errors.items()}
    target = form["target"].data
    if isinstance(target, TargetForm):
        found |= {f"target-{name}": " ".join(map(str, texts)) for name, texts in target.errors.items()}
    return found


def text_of(response: Any) -> str:
    found: str = response.content.decode()
    return found
