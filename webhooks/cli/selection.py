"""Finds endpoints by name or id, mutes by id, deliveries by id. A name wins over an id with the same digits."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import TypeVar

from django.db.models import Model

from core.cli.exit_codes import FailedError
from core.suggest import did_you_mean
from webhooks.models import WebhookDelivery, WebhookEndpoint, WebhookMute
from webhooks.selectors import deliveries_with_attempts

M = TypeVar("M", bound=Model)
MAX_DIGITS = 19  # of ids in any database


def add_endpoint(parser: ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", help="name or id of an endpoint")


def find_endpoint(name: str) -> WebhookEndpoint:
    """Raises FailedError."""
    found = WebhookEndpoint.objects.filter(name=name).first() or _by_id(WebhookEndpoint, name)
    if found is None:
        known = WebhookEndpoint.objects.values_list("name", flat=True)
        raise FailedError(f"There is no webhook {name}.{did_you_mean(name, known)}")
    return found


def find_mute(number: str) -> WebhookMute:
    """Raises FailedError."""
    found = _by_id(WebhookMute, number)
    if found is None:
        raise FailedError(f"There is no mute {number}. To list mutes: webhook mutes")
    return found


def find_deliveries(ids: list[str]) -> list[WebhookDelivery]:
    """In that order. Raises FailedError if any of them does not exist."""
    found = {row.pk: row for row in deliveries_with_attempts().filter(pk__in=ids)}
    # All or none: half of a list is never sent.
    if missing := [each for each in ids if each not in found]:
        raise FailedError("\n".join(f"There is no delivery {each}." for each in missing))
    return [found[each] for each in dict.fromkeys(ids)]


def _by_id(model: type[M], text: str) -> M | None:
    is_number = text.isascii() and text.isdigit() and len(text) < MAX_DIGITS
    return model._default_manager.filter(pk=int(text)).first() if is_number else None
