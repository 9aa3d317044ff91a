from __future__ import annotations

import base64
import time

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from webhooks.delivery import signing


def test_the_published_test_vector() -> None:
    headers = signing.signature_headers(
        "msg_test", 1700000000, b'{"a":1}', ["whsec_a2tra2tra2tra2tra2tra2tra2tra2tr"]
    )
    assert headers == {
        "webhook-id": "msg_test",
        "webhook-timestamp": "1700000000",
        "webhook-signature": "v1,TFqG32GTQQS9O0ghi5tmBr94CO3WbRKnn4ilqifoU4c=",
    }


def test_standardwebhooks_verifies_signatures_with_either_of_two_secrets() -> None:
    old, new = signing.new_secret(), signing.new_secret()
    body = '{"text": "größer 🟢"}'.encode()
    headers = signing.signature_headers("msg_1", int(time.time()), body, [new, old])
    for secret in (old, new):
        assert Webhook(secret).verify(body, headers) == {"text": "größer 🟢"}
    with pytest.raises(WebhookVerificationError):
        Webhook(signing.new_secret()).verify(body, headers)


@pytest.mark.parametrize("change", ["webhook-id", "webhook-timestamp", "body"])
def test_a_changed_id_timestamp_or_body_is_detected(change: str) -> None:
    secret, now = signing.new_secret(), int(time.time())
    headers = signing.signature_headers("msg_1", now, b"{}", [secret])
    changed = {"webhook-id": "msg_2", "webhook-timestamp": str(now + 1)}
    forged = headers | ({change: changed[change]} if change in changed else {})
    with pytest.raises(WebhookVerificationError):
        Webhook(secret).verify(b"[]" if change == "body" else b"{}", forged)


def test_new_secrets_are_random_with_32_bytes() -> None:
    secrets = {signing.new_secret() for _ in range(50)}
    assert len(secrets) == 50
    assert {len(base64.b64decode(secret.removeprefix("whsec_"))) for secret in secrets} == {32}


@pytest.mark.parametrize(
    "secret", ["", "whsec_", "whsec_c2hvcnQ=", "no-prefix" * 5, "whsec_" + "A" * 200, "whsec_!!!!" + "A" * 40]
)
def test_invalid_secrets_are_refused(secret: str) -> None:
    with pytest.raises(ValueError, match="whsec_"):
        signing.check_secret(secret)


def test_a_new_secret_is_valid() -> None:
    signing.check_secret(signing.new_secret())
