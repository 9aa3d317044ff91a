"""Generated requests check that the responses match the OpenAPI document."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from django.core.handlers.wsgi import WSGIHandler
from django.core.signals import request_finished, request_started
from django.db import close_old_connections
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from core.access import Role
from monitor_site.api import api
from programs.tests.api_rig import define, host, running, token

DOCUMENT = dict(api.get_openapi_schema(path_prefix="/api/"))
OPERATIONS = [
    (mode, path, method)
    for path, methods in DOCUMENT["paths"].items()
    for method, operation in methods.items()
    for mode in GenerationMode
    if mode is GenerationMode.POSITIVE or operation["parameters"] or "requestBody" in operation
]
CHECKS = [status_code_conformance, content_type_conformance, response_schema_conformance]
few = settings(
    max_examples=6,
    deadline=None,
    database=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.explicit, Phase.generate],
)


@pytest.fixture(scope="module")
def schema() -> Any:
    found = schemathesis.openapi.from_dict(DOCUMENT)
    found.app = WSGIHandler()
    return found


@pytest.fixture(autouse=True)
def kept_connection() -> Iterator[None]:
    """Keeps the transaction of the test across requests, like Django's test client."""
    for signal in (request_started, request_finished):
        signal.disconnect(close_old_connections)
    yield
    for signal in (request_started, request_finished):
        signal.connect(close_old_connections)


@pytest.mark.django_db
@pytest.mark.filterwarnings("ignore:StreamingHttpResponse must consume")  # the transport is a synchronous one
@pytest.mark.parametrize(("mode", "path", "method"), OPERATIONS)
def test_responses_to_generated_requests_match_the_document(
    schema: Any, mode: GenerationMode, path: str, method: str
) -> None:
    host()
    running(define("web", stdin="console"))
    headers = {"Authorization": f"Bearer {token(Role.ADMIN)}", "Accept-Encoding": "identity"}

    @few
    @given(case=schema[path][method].as_strategy(generation_mode=mode))
    def call(case: Any) -> None:
        for parameter in ("wait", "stream"):  # slow, and tested elsewhere
            (case.query or {}).pop(parameter, None)
        answer = case.call(headers=headers)
        assert answer.status_code < 500
        case.validate_response(answer, checks=CHECKS)

    call()
