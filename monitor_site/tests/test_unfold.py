from __future__ import annotations

import pytest
from django.contrib.auth.models import User
from django.test import Client, RequestFactory

from core.access import Role, set_role
from monitor_site.unfold import navigation
from programs.models import Host

EVERYBODY = {"Overview", "Programs", "Events", "Incidents", "Hosts"}


def sidebar(role: Role, path: str = "/admin/") -> list[dict[str, object]]:
    user = User.objects.create_user(f"{role}-person")
    set_role(user, role)
    request = RequestFactory().get(path)
    request.user = user
    return [item for group in navigation(request) for item in group["items"]]


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("role", "sees", "does_not"),
    [
        (Role.READ, EVERYBODY, {"Adopt a process", "Users", "Audit trail"}),
        (Role.OPERATE, EVERYBODY, {"Adopt a process", "Users", "Audit trail"}),
        (Role.ADMIN, EVERYBODY | {"Adopt a process", "Users", "Tokens", "Audit trail"}, set()),
    ],
)
def test_the_sidebar_has_the_entries_of_the_role(role: Role, sees: set[str], does_not: set[str]) -> None:
    titles = {str(item["title"]) for item in sidebar(role)}
    assert sees <= titles
    assert not does_not & titles


@pytest.mark.django_db
@pytest.mark.parametrize("role", list(Role))
def test_every_sidebar_entry_opens(role: Role) -> None:
    links = [str(item["link"]) for item in sidebar(role)]
    client = Client()
    client.force_login(User.objects.get())
    assert [link for link in links if client.get(link).status_code != 200] == []


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("path", "title"),
    [
        ("/admin/", "Overview"),
        ("/admin/programs/program/7/change/", "Programs"),
        ("/admin/programs/program/adopt/", "Adopt a process"),
        ("/admin/programs/programevent/", "Events"),
    ],
)
def test_the_entry_of_the_page_is_active(path: str, title: str) -> None:
    assert [item["title"] for item in sidebar(Role.ADMIN, path) if item["active"]] == [title]


@pytest.fixture
def viewer(db: None) -> Client:
    user = User.objects.create_user("vera")
    set_role(user, Role.READ)
    client = Client()
    client.force_login(user)
    return client


def test_a_list_is_titled_by_what_it_lists(viewer: Client) -> None:
    page = viewer.get("/admin/programs/incident/").content.decode()
    assert "Incidents | Program Monitor</title>" in page


def test_an_empty_list_says_whether_a_filter_hides_everything(viewer: Client) -> None:
    assert "No incidents yet." in viewer.get("/admin/programs/incident/").content.decode()
    filtered = viewer.get("/admin/programs/incident/?q=nothing").content.decode()
    assert "No incidents match. Change or reset the search and the filters." in filtered


def test_a_page_is_titled_by_the_object_it_shows(viewer: Client) -> None:
    host = Host.objects.create(name="far")
    page = viewer.get(f"/admin/programs/host/{host.pk}/change/").content.decode()
    assert "far | Program Monitor</title>" in page
