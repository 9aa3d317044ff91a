"""The verbs of webhooks: what people, the API, the admin and commands ask for.

Each change of an endpoint first advances the counter that every event advances too, so that no event in the middle
of being written still sees the endpoint as it was. Nothing here sends anything.
"""

from .actors import SENDER, Actor
from .endpoints import (
    FIELDS,
    OLD_SECRET_FOR,
    PLAIN_FIELDS,
    SET,
    TLS_FIELDS,
    Saved,
    check_tls,
    remove_endpoint,
    rotate_secret,
    save_endpoint,
    switch_off,
)
from .mutes import UNBOUND, change_mute, mute, unmute
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
    "SENDER",
    "SET",
    "TLS_FIELDS",
    "UNBOUND",
    "Actor",
    "Saved",
    "change_mute",
    "check_tls",
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
    "switch_off",
    "unmute",
]
