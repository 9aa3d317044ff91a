"""Actions on endpoints, mutes and deliveries, for the API, the admin and the commands.

Each change of an endpoint first advances the sequence that every event advances too: no event can be written in
between with the old subscriptions. Nothing here sends anything.
"""

from .endpoints import (
    FIELDS,
    OLD_SECRET_FOR,
    PLAIN_FIELDS,
    SET,
    SYSTEM_ACTOR,
    TLS_FIELDS,
    Actor,
    SavedEndpoint,
    check_tls,
    disable_endpoint,
    remove_endpoint,
    rotate_secret,
    save_endpoint,
)
from .mutes import UNBOUNDED, change_mute, mute, unmute
from .sending import (
    failed_since,
    missing_since,
    recover,
    redeliver,
    replay_missing,
    send_test,
)

__all__ = [
    "FIELDS",
    "OLD_SECRET_FOR",
    "PLAIN_FIELDS",
    "SET",
    "SYSTEM_ACTOR",
    "TLS_FIELDS",
    "UNBOUNDED",
    "Actor",
    "SavedEndpoint",
    "change_mute",
    "check_tls",
    "disable_endpoint",
    "failed_since",
    "missing_since",
    "mute",
    "recover",
    "redeliver",
    "remove_endpoint",
    "replay_missing",
    "rotate_secret",
    "save_endpoint",
    "send_test",
    "unmute",
]
