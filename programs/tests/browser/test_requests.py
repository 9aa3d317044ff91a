"""What people read when a request of a page fails."""

from __future__ import annotations

import pytest

from .conftest import Visit

pytestmark = pytest.mark.browser
JSON = '{ "Content-Type": "application/problem+json" }'
REDIRECT = 'Object.defineProperty(new Response("<form>", { status: 200 }), "redirected", { value: true })'
FAILURES = {
    'Promise.reject(new TypeError("gone"))': (0, "The monitor does not respond."),
    'new Response("", { status: 401 })': (401, "You are logged out."),
    REDIRECT: (401, "You are logged out."),
    'new Response("<h1>no</h1>", { status: 403 })': (403, "You do not have permission for this."),
    'new Response("", { status: 409 })': (409, "The state has changed in the meantime."),
    f"""new Response('{{"detail": "It runs already."}}', {{ status: 409, headers: {JSON} }})""": (
        409,
        "It runs already.",
    ),
    'new Response("", { status: 503, headers: { "Retry-After": "7" } })': (503, "Try again in 7 seconds."),
    'new Response("", { status: 500 })': (500, "(status 500)"),
}
ASK = """async () => {
    const { getJson } = await import("/static/monitor/request.js");
    const kept = window.fetch;
    window.fetch = async () => %s;
    try {
        await getJson("/api/programs");
    } catch (error) {
        return [error.name, error.status, error.message];
    } finally {
        window.fetch = kept;
    }
}"""


def test_a_failed_request_says_what_happened_and_what_to_do(visit: Visit) -> None:
    page = visit("read", "/admin/programs/program/")
    for response, (status, part) in FAILURES.items():
        name, found, message = page.evaluate(ASK % response)
        assert (name, found) == ("RequestError", status), response
        assert part in message, response
