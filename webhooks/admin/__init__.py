"""The admin of webhooks: endpoints, the log of deliveries, and silences."""

from . import delivery, endpoint, mute

__all__ = ["delivery", "endpoint", "mute"]
