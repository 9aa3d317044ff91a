"""Who asks: a person or token, or by name a command or the sender."""

from __future__ import annotations

from core.access import Principal

Actor = str | Principal
SENDER = "webhooks"  # the actor of what the sender decides itself


def name_of(actor: Actor) -> str:
    return actor if isinstance(actor, str) else actor.actor
