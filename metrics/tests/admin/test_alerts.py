from __future__ import annotations

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from metrics.alerts.models import Alert, AlertRule
from metrics.alerts.tests.factories import alert, rule
from programs.models import Program
from programs.tests.admin.conftest import MakeProgram

LIST = "/admin/metrics/alert/"


@pytest.fixture
def two(program: MakeProgram) -> tuple[Alert, Alert]:
    """A firing alert of web, and an older resolved one of db."""
    hot = rule("hot", severity="error")
    leak = rule("leak", metric="memory_bytes", threshold=1024**3)
    firing = alert(hot, program("web"), age=75)
    resolved = alert(
        leak, program("db"), age=90_000, lasted=3600, value=2 * 1024**3, lowest=1024**3, highest=3 * 1024**3
    )
    return firing, resolved


def found(client: Client, query: str) -> list[str]:
    return [row.program_name for row in client.get(LIST + query).context["cl"].result_list]


def test_the_list_shows_state_and_value(viewer: Client, two: tuple[Alert, Alert]) -> None:
    text = viewer.get(LIST).content.decode()
    for wanted in ("firing", "CPU 95 % (above 90 %)", "Memory 2.0 GB (above 1.0 GB)", "1h", "recovered"):
        assert wanted in text


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", ["web", "db"]),
        ("?state=firing", ["web"]),
        ("?state=resolved", ["db"]),
        ("?state=nonsense", ["web", "db"]),
        ("?rule={rule}", ["web"]),
        ("?program={db}", ["db"]),
        ("?severity__exact=error", ["web"]),
        ("?since=day", ["web"]),
        ("?since=week", ["web", "db"]),
        ("?q=leak", ["db"]),
    ],
)
def test_alerts_are_found_newest_first(
    viewer: Client, two: tuple[Alert, Alert], query: str, expected: list[str]
) -> None:
    firing, resolved = two
    assert found(viewer, query.format(rule=firing.rule_id, db=resolved.program_id)) == expected


def test_pages_are_not_counted_and_need_the_same_queries(viewer: Client, two: tuple[Alert, Alert]) -> None:
    viewer.get(LIST)
    with CaptureQueriesContext(connection) as few:
        viewer.get(LIST)
    for number in range(80):
        alert(AlertRule.objects.all()[0], Program.objects.all()[0], age=1000 + number, lasted=1)
    with CaptureQueriesContext(connection) as many:
        viewer.get(LIST)
    assert len(few) == len(many)
    asked = [query["sql"] for query in many if "metrics_alert" in query["sql"] and "COUNT" in query["sql"]]
    assert all("resolved_at" in sql for sql in asked)  # the side bar's badge, which uses the index


def test_an_alert_stays_readable_after_rule_and_program_are_removed(
    viewer: Client, two: tuple[Alert, Alert]
) -> None:
    AlertRule.objects.all().delete()
    Program.objects.all().delete()
    text = viewer.get(f"{LIST}{two[1].pk}/change/").content.decode()
    for wanted in ("leak", "db", "Memory above 1.0 GB over 1m", "1.0 GB … 3.0 GB", "recovered"):
        assert wanted in text


def test_alerts_are_read_only(admin: Client, two: tuple[Alert, Alert]) -> None:
    assert admin.get(f"{LIST}add/").status_code == 403
    assert admin.post(f"{LIST}{two[0].pk}/change/", {"value": "1"}).status_code == 403
    assert admin.post(f"{LIST}{two[0].pk}/delete/", {"post": "yes"}).status_code == 403


def test_a_program_page_shows_its_firing_alerts(viewer: Client, two: tuple[Alert, Alert]) -> None:
    page = "/admin/programs/program/{}/change/"
    text = viewer.get(page.format(two[0].program_id)).content.decode()
    assert "CPU 95 % (above 90 %), for 1m 15s" in text
    assert "Memory 2.0 GB" not in viewer.get(page.format(two[1].program_id)).content.decode().split("</header>")[0]


def test_a_program_page_shows_at_most_five_alerts(viewer: Client, program: MakeProgram) -> None:
    web = program("web")
    for number in range(7):
        alert(rule(f"r{number}"), web)
    notices = viewer.get(f"/admin/programs/program/{web.pk}/change/").context["notices"]
    assert len(notices) == 6
    assert "and more alerts" in notices[-1]


def test_the_front_page_and_the_side_bar_show_firing_alerts(viewer: Client, two: tuple[Alert, Alert]) -> None:
    page = viewer.get("/admin/")
    assert [row["words"] for row in page.context["lasting_alerts"]] == ["CPU 95 % (above 90 %)"]
    entries = [item for group in page.context["sidebar_navigation"] for item in group["items"]]
    badges = {str(item["title"]): item.get("badge") for item in entries}
    assert (badges["Alerts"], badges["Alert rules"]) == ("1", None)
