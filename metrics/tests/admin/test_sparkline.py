from __future__ import annotations

import time

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from metrics.admin.sparkline import words
from metrics.queries.sparklines import Sparkline
from metrics.storage.tiers import MINUTE
from metrics.tests.history import steadily, used
from programs.states import State
from programs.tests.admin.conftest import LIST, MakeProgram


def this_minute() -> int:
    return MINUTE.floor(int(time.time()))


def test_each_row_says_what_its_program_used_in_the_last_hour(viewer: Client, program: MakeProgram) -> None:
    web = program("web", State.RUNNING)
    steadily(MINUTE, web, [this_minute() - 120], cpu=10, memory=2 * 1024**2)
    steadily(MINUTE, web, [this_minute() - 60], cpu=20, memory=4 * 1024**2)
    program("idle")
    text = viewer.get(LIST).content.decode()
    assert "CPU: average 15.0 %, highest minute 20.0 %; memory: average 3.0 MB, highest minute 4.0 MB" in text
    assert "No data in the last hour." in text
    assert f'data-sparkline="{web.pk}"' in text
    assert "monitor/charts/sparkline.js" in text


def test_the_page_reads_all_of_them_in_one_query(viewer: Client, program: MakeProgram) -> None:
    for number in range(30):
        used(MINUTE, program(f"p{number}", State.RUNNING), this_minute() - 60)
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
def test_the_words_leave_out_what_is_not_known(found: Sparkline | None, text: str) -> None:
    assert words(found) == text
