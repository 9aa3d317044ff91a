"""Random input for endpoints, mutes and previews: accepted or refused, but never a server error."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.access import Role
from programs.tests.api_rig import Api
from webhooks import schemas, services
from webhooks.models import WebhookEndpoint
from webhooks.tests.rig import endpoint

pytestmark = pytest.mark.django_db
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8)
    | st.sampled_from(
        ["\x00", "http://[", "••••••", "$NIX", "program.*", "2026-01-01T00:00:00Z", "9999-12-31", "* * * * *"]
    )
)
ANYTHING = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner)
)
DEEP: Any = json.loads("[" * 500 + "]" * 500)
few = settings(
    max_examples=15, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck)
)


def bodies(model: Any) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional=dict.fromkeys(model.model_fields, ANYTHING))


@pytest.mark.parametrize(
    ("method", "path", "model"),
    [
        ("PATCH", "/webhooks/{webhook}", schemas.WebhookChangesIn),
        ("PUT", "/webhooks/{webhook}", schemas.WebhookIn),
        ("PATCH", "/webhooks/mutes/{mute}", schemas.MuteChangesIn),
        ("POST", "/webhooks/mutes", schemas.MuteChangesIn),
        ("POST", "/webhooks/{webhook}/recover", schemas.SinceIn),
        ("POST", "/webhooks/{webhook}/replay", schemas.SinceIn),
        ("POST", "/webhooks/{webhook}/preview", schemas.EventIn),
        ("POST", "/webhooks/preview", schemas.PreviewIn),
    ],
)
def test_random_bodies_are_accepted_or_refused_without_server_errors(method: str, path: str, model: Any) -> None:
    api, row = Api(Role.ADMIN), endpoint()
    filled = path.format(webhook=row.pk, mute=services.mute(actor="tester", everything=True).pk)

    @few
    @given(body=bodies(model))
    def call(body: dict[str, Any]) -> None:
        status, answer = api(method, filled, body)
        assert status in (200, 201, 404, 409, 422), (body, answer)

    call()
    assert WebhookEndpoint.objects.get().url


@pytest.mark.parametrize("url", ["http://[", "http://[::1", "https://[x]/", "ftp://x", "http://a b/", "x" * 5000])
@pytest.mark.parametrize("kind", ["discord", "telegram", "template", "standard", "apprise"])
def test_no_url_breaks_a_preview(kind: str, url: str) -> None:
    body = {"format": kind, "url": url, "settings": {"chat_id": "1"} if kind == "telegram" else {}}
    assert Api(Role.ADMIN)("POST", "/webhooks/preview", body)[0] in (200, 422)


@pytest.mark.parametrize("field", ["settings", "conditions"])
def test_deeply_nested_values_are_refused(field: str) -> None:
    for value in (DEEP, {"attr": "a", "value": DEEP}, {"a": DEEP}):
        assert Api(Role.ADMIN)("POST", "/webhooks", {"name": "x", "url": "http://x.y/", field: value})[0] == 422
