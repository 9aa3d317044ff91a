from __future__ import annotations

import time

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from metrics.admin.history import describe
from metrics.queries.recent_usage import Sparkline
from metrics.storage.tiers import DAY, HOUR, MINUTE, RAW, TEN_MINUTES, TIERS, Tier
from metrics.tests.history import store_usage, store_usage_rows
from programs.states import State
from programs.tests.admin.conftest import LIST, MakeProgram


def this_minute() -> int:
    return MINUTE.floor(int(time.time()))


def test_each_row_has_a_sparkline_of_the_last_hour(viewer: Client, program: MakeProgram) -> None:
    web = program("web", State.RUNNING)
    store_usage_rows(MINUTE, web, [this_minute() - 120], cpu=10, memory=2 * 1024**2)
    store_usage_rows(MINUTE, web, [this_minute() - 60], cpu=20, memory=4 * 1024**2)
    program("idle")
    text = viewer.get(LIST).content.decode()
    assert "CPU: average 15.0 %, highest minute 20.0 %; memory: average 3.0 MB, highest minute 4.0 MB" in text
    assert "No data in the last hour." in text
    assert f'data-sparkline="{web.pk}"' in text
    assert "monitor/charts/sparkline.js" in text


def test_all_sparklines_of_a_page_are_one_query(viewer: Client, program: MakeProgram) -> None:
    for number in range(30):
        store_usage(MINUTE, program(f"p{number}", State.RUNNING), this_minute() - 60)
    with CaptureQueriesContext(connection) as asked:
        assert viewer.get(LIST).content.decode().count("data-sparkline=") == 30
    assert len([query for query in asked if "metrics_resourceusage" in query["sql"]]) == 1


@pytest.mark.parametrize(
    ("found", "text"),
    [
        (None, "No data in the last hour."),
        (Sparkline(0, [None, 1.0], [None, None]), "CPU: average 1.0 %, highest minute 1.0 %"),
    ],
)
def test_the_sparkline_text_omits_unknown_values(found: Sparkline | None, text: str) -> None:
    assert describe(found) == text


PAGE = "/admin/metrics/recordedprogram/"


def now(tier: Tier) -> int:
    return tier.floor(int(time.time()))


def names(client: Client, query: str) -> list[str]:
    return [row[0].name if row[0] else "removed" for row in client.get(PAGE + query).context["rows"]]


@pytest.mark.parametrize("tier", TIERS, ids=lambda tier: tier.name)
def test_readers_can_view_every_tier(viewer: Client, program: MakeProgram, tier: Tier) -> None:
    store_usage(tier, program("web"), now(tier), cpu=12.5, memory=1536 * 1024)
    text = viewer.get(f"{PAGE}?tier={tier.name}").content.decode()
    for wanted in ("web", "12.5 %", "1.5 MB", "12.5 % to 12.5 %"):
        assert wanted in text


def test_rows_are_filtered_by_program_and_time(viewer: Client, program: MakeProgram) -> None:
    web, db = program("web"), program("db")
    store_usage(HOUR, web, now(HOUR) - 7200)
    store_usage(HOUR, web, now(HOUR))
    store_usage(HOUR, db, now(HOUR))
    assert names(viewer, f"?tier=hour&program={web.pk}") == ["web", "web"]
    at = time.strftime("%Y-%m-%dT%H:%M", time.gmtime(now(HOUR) - 3600))
    assert sorted(names(viewer, f"?tier=hour&start={at}")) == ["db", "web"]
    assert names(viewer, f"?tier=hour&end={at}") == ["web"]


def test_the_page_links_to_older_and_newest_rows(viewer: Client, program: MakeProgram) -> None:
    web = program("web")
    store_usage_rows(RAW, web, range(now(RAW) - 1500, now(RAW), 10))
    first = viewer.get(f"{PAGE}?program={web.pk}")
    assert first.context["newest"] == ""
    second = viewer.get(PAGE + first.context["older"])
    assert len(first.context["rows"]) + len(second.context["rows"]) == 150
    assert second.context["older"] == ""
    assert second.context["newest"] == f"?program={web.pk}"


def test_rows_of_a_removed_program_show_its_id(viewer: Client) -> None:
    store_usage(DAY, 4711, now(DAY))
    assert "removed (ID 4711)" in viewer.get(f"{PAGE}?tier=day").content.decode()


@pytest.mark.parametrize(
    "query",
    ["?tier=nonsense", "?below=x", "?below=1.2", f"?below={'9' * 30}.1.1", "?below=9.9.9", "?unknown=1"],
)
def test_invalid_query_parameters_are_ignored(viewer: Client, program: MakeProgram, query: str) -> None:
    store_usage(RAW, program("web"), now(RAW))
    assert viewer.get(PAGE + query).status_code == 200


@pytest.mark.parametrize("query", ["?program=999", "?program=x", "?start=yesterday", "?end=2026-99-99T00:00"])
def test_an_invalid_filter_shows_an_error(viewer: Client, program: MakeProgram, query: str) -> None:
    assert 'class="row-error"' in viewer.get(PAGE + query).content.decode()


def test_many_programs_need_as_many_queries_as_one(viewer: Client, program: MakeProgram) -> None:
    store_usage(MINUTE, program("p0"), now(MINUTE))
    viewer.get(f"{PAGE}?tier=minute")
    with CaptureQueriesContext(connection) as few:
        viewer.get(f"{PAGE}?tier=minute")
    for number in range(1, 20):
        store_usage(MINUTE, program(f"p{number}"), now(MINUTE))
    with CaptureQueriesContext(connection) as many:
        viewer.get(f"{PAGE}?tier=minute")
    assert len(few) == len(many) <= 10
    assert not any("COUNT(" in query["sql"].upper() and "resourceusage" in query["sql"] for query in many)


def test_only_readers_may_view_and_nobody_may_write(client: Client, admin: Client, viewer: Client) -> None:
    assert client.get(PAGE).headers["Location"].startswith("/admin/login/")
    stranger = Client()
    stranger.force_login(User.objects.create_user("nobody", is_staff=True))
    assert stranger.get(PAGE).status_code == 403
    assert admin.get(f"{PAGE}add/").status_code == 404
    store_usage(TEN_MINUTES, 1, now(TEN_MINUTES))
    assert admin.post(PAGE, {"action": "delete_selected"}).status_code == 405
