from __future__ import annotations

import re

import pytest
from django.contrib.staticfiles import finders
from django.test import Client

from core.access import Role
from programs.tests.api_rig import Api, person

pytestmark = pytest.mark.django_db
PAGES = ("/api/openapi.json", "/api/docs")


@pytest.mark.parametrize("path", PAGES)
def test_anonymous_users_do_not_see_the_documentation(path: str) -> None:
    browser = Client(headers={"Accept": "text/html"}).get(path)
    assert (browser.status_code, browser["Location"]) == (302, f"/admin/login/?next={path}")
    script = Client(headers={"Accept": "application/json"}).get(path)
    assert (script.status_code, script["Content-Type"]) == (401, "application/problem+json")


@pytest.mark.parametrize("path", PAGES)
def test_users_without_a_role_do_not_see_the_documentation(path: str) -> None:
    client = Client()
    client.force_login(person(None))
    assert client.get(path).status_code == 403


@pytest.mark.parametrize("path", PAGES)
def test_readers_see_the_documentation_with_token_or_session(path: str) -> None:
    client = Client()
    client.force_login(person(Role.READ))
    assert client.get(path).status_code == 200
    assert Api(Role.READ).client.get(path).status_code == 200


def test_the_page_loads_nothing_from_other_sites() -> None:
    text = Api(Role.READ).client.get("/api/docs").content.decode()
    addresses = re.findall(r'(?:src|href)="([^"]+)"', text)
    assert addresses
    for address in addresses:
        assert address.startswith("/static/ninja/"), address
        assert finders.find(address.removeprefix("/static/")), address


def test_the_document_describes_authentication_and_responses() -> None:
    document = Api(Role.READ).get("/openapi.json")
    assert set(document["components"]["securitySchemes"]) == {"BearerAuth", "SessionAuth"}
    operations = [found for methods in document["paths"].values() for found in methods.values()]
    assert all(found["responses"] and found["summary"] for found in operations)
    names = [found["operationId"] for found in operations]
    assert len(set(names)) == len(names)
