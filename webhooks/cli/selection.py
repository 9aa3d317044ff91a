"""Which endpoint is meant: by name or id; a name wins over an id of the same digits."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import TypeVar

from django.db.models import Model

from core.cli.exit_codes import FailedError
from core.suggest import did_you_mean
from webhooks.models import WebhookDelivery, WebhookEndpoint, WebhookMute
from webhooks.selectors import deliveries_with_attempts

M = TypeVar("M", bound=Model)
LONGEST_NUMBER = 19  # digits that any database's ids hold


def add_endpoint(parser: ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", help="an endpoint's name or id")


def one(name: str) -> WebhookEndpoint:
    """Raises FailedError."""
    found = WebhookEndpoint.objects.filter(name=name).first() or _numbered(WebhookEndpoint, name)
    if found is None:
        known = WebhookEndpoint.objects.values_list("name", flat=True)
        raise FailedError(f"There is no webhook {name}.{did_you_mean(name, known)}")
    return found


def one_mute(number: str) -> WebhookMute:
    """Raises FailedError."""
    found = _numbered(WebhookMute, number)
    if found is None:
        raise FailedError(f"There is no mute {number}; `webhook mutes` lists them.")
    return found


def named_deliveries(ids: list[str]) -> list[WebhookDelivery]:
    """In that order. Raises FailedError for one that is not there: half of a list is never acted upon."""
    found = {row.pk: row for row in deliveries_with_attempts().filter(pk__in=ids)}
    if missing := [each for each in ids if each not in found]:
        raise FailedError("\n".join(f"There is no delivery {each}." for each in missing))
    return [found[each] for each in dict.fromkeys(ids)]


def _numbered(model: type[M], text: str) -> M | None:
    is_number = text.isascii() and text.isdigit() and len(text) < LONGEST_NUMBER
    return model._default_manager.filter(pk=int(text)).first() if is_number else None
