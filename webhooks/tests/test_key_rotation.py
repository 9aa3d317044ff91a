from __future__ import annotations

import pytest

from core import key_rotation
from core.key_rotation import re_encrypt_all
from core.secrets import decrypt
from webhooks.models import WebhookEndpoint

from .receiver import Receiver
from .rig import endpoint, record_event, send

pytestmark = pytest.mark.usefixtures("outbox")


def test_key_rotation_re_encrypts_every_secret_of_an_endpoint(receiver: Receiver) -> None:
    row = endpoint(receiver.url())
    before = WebhookEndpoint.objects.values("encrypted_url", "encrypted_secret", "revision").get()
    key_rotation.add_key()
    (tally,) = [tally for tally in re_encrypt_all() if "webhook" in tally.name]
    key_rotation.keep_newest_key()
    after = WebhookEndpoint.objects.values("encrypted_url", "encrypted_secret", "revision").get()
    assert (tally.seen, tally.changed) == (2, 2)
    assert after["encrypted_url"] != before["encrypted_url"] and after["revision"] > before["revision"]
    assert decrypt(after["encrypted_url"]) == receiver.url()
    row.refresh_from_db()
    record_event("agent.started")
    send()
    assert len(receiver.received) == 1
