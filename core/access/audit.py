"""The audit trail: one row per action. Rows are only added, and deleted by retention."""

from __future__ import annotations

import getpass
import os
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from core.log_context import current_request_id
from core.masking import mask_text, masked, printable
from core.models import AuditEntry

from .roles import ACTOR_LENGTH, Principal

EXPIRY_BATCH = 500  # keeps each transaction short


def audit(
    actor: str | Principal,
    action: str,
    target: str = "",
    *,
    outcome: str = "done",
    address: str | None = None,
    data: Mapping[str, Any] | None = None,
) -> AuditEntry:
    """Adds one row. `action` is a word or `area.verb`, `outcome` is done, failed or refused.

    Masks secrets in `data`, cuts texts to their column, and adds the request id inside a request.
    """
    details: dict[str, Any] = masked(data or {})
    if isinstance(actor, Principal) and actor.token_prefix:
        details["token_prefix"] = actor.token_prefix
    if request_id := current_request_id():
        details["request_id"] = request_id
    name = actor.actor if isinstance(actor, Principal) else actor
    return AuditEntry.objects.create(
        actor=printable(name)[:ACTOR_LENGTH],
        action=printable(action)[:60],
        target=printable(mask_text(target))[:200],
        outcome=outcome,
        address=address,
        data=details,
    )


def expire(before: datetime, *, batch: int = EXPIRY_BATCH) -> int:
    deleted, old = 0, AuditEntry.objects.filter(at__lt=before).order_by()
    while ids := list(old.values_list("pk", flat=True)[:batch]):
        deleted += AuditEntry.objects.filter(pk__in=ids).expire()
    return deleted


def command_actor() -> str:
    try:
        name = getpass.getuser()
    except (OSError, KeyError):  # a service account without a name
        name = f"uid {os.getuid()}"
    return f"{name} (command line)"
