"""The admin of webhooks: endpoints, the delivery log, and mutes."""

from . import deliveries, endpoints, mutes

__all__ = ["deliveries", "endpoints", "mutes"]
