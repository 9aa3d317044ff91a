from __future__ import annotations

from typing import Any

import pytest

from webhooks.transports.message import Tone, digest_of, message_of
from webhooks.transports.text_limits import cut, last_lines, length

from .sample_bodies import CRASH, LINK, told


def test_a_crash_is_told_in_the_order_people_ask() -> None:
    message = message_of(CRASH)
    assert (message.tone, message.program, message.link) == (Tone.ERROR, "my_web", LINK)
    assert message.facts == (
        ("Program", "my_web (instance 2)"),
        ("Host", "nas"),
        ("Ended with", "exit code 1"),
        ("Uptime before", "1 h 6 min"),
        ("Restarts in the last hour", "3"),
        ("When", "2026-01-02 12:03:04 UTC"),
    )


def test_an_alert_tells_rule_value_threshold_and_how_long() -> None:
    data = {
        "rule": "hot", "measure": "CPU", "unit": "percent", "condition": "above", "threshold": 90.0,
        "value": 12.5, "highest": 99.25, "lowest": 12.5, "seconds": 300, "why": "recovered",
    }  # fmt: skip
    event = {"type": "alert.resolved", "severity": "info", "actor": "agent", "data": data}
    summary = "Alert hot for my_web resolved after 5 min: recovered"
    body = {**told(event=event, summary=summary, process={}), "type": "alert.resolved"}
    message = message_of(body)
    assert (message.tone, message.headline) == (Tone.GOOD, summary)
    assert message.facts[2:-1] == (
        ("Rule", "hot"),
        ("CPU", "12.5 %"),
        ("Highest, lowest", "99.25 % / 12.5 %"),
        ("Threshold", "above 90 %"),
        ("Lasted", "5 min"),
    )


def test_an_alert_of_another_shape_than_expected_is_told_all_the_same() -> None:
    event = {"type": "alert.firing", "severity": "warning", "data": {"value": "much", "threshold": [], "unit": 5}}
    assert message_of({**told(event=event, process={}), "type": "alert.firing"}).tone is Tone.WARNING


def test_a_person_who_did_it_is_named_and_the_agent_is_not() -> None:
    assert ("By", "alice") in message_of(told(event={"actor": "alice"})).facts
    assert all(label != "By" for label, _ in message_of(CRASH).facts)


def test_a_meaning_that_the_headline_has_already_is_not_repeated() -> None:
    assert message_of(told(summary="It ended: boom", process={"meaning": "boom"})).meaning == ""


def test_tokens_in_log_lines_do_not_leave_the_house() -> None:
    lines = ["connect postgres://me:hunter22@db/x", "Authorization: Bearer abcdefghijkl"]
    text = "\n".join(message_of(told(process={"log_lines": lines})).log_lines)
    assert "hunter22" not in text and "abcdefghijkl" not in text


def test_log_lines_lose_colours_and_keep_their_indent() -> None:
    lines = ["  \x1b[31mred\x1b[0m\t\x07x  ", "", "   "]
    assert message_of(told(process={"log_lines": lines})).log_lines == ("  red\tx",)


def event(second: int, **changes: Any) -> dict[str, Any]:
    return {**told(**changes), "timestamp": f"2026-01-02T12:03:{second:02}Z"}


def test_a_storm_becomes_a_line_for_each_program_and_kind() -> None:
    storm = [event(n) for n in range(20)] + [event(30, program={"name": "db"}, summary="db crashed")]
    digest = digest_of(storm)
    assert (digest.tone, digest.headline) == (Tone.ERROR, "21 events of 2 programs within 30 s")
    assert digest.lines == (
        "🔴 12:03:19 my_web crashed: exit code 1 after 1 h 6 min; restarting now (20 times)",
        "🔴 12:03:30 db crashed",
    )


def test_a_digest_is_as_bad_as_its_worst_event() -> None:
    calm, warned = event(1, event={"severity": "info"}), event(2, event={"severity": "warning"})
    assert digest_of([calm, warned, calm]).tone is Tone.WARNING


def test_a_digest_of_many_programs_says_how_many_it_leaves_out() -> None:
    digest = digest_of([event(1, program={"name": f"p{n}"}) for n in range(40)])
    assert len(digest.lines) == 16 and digest.lines[-1] == "… and 25 more kinds of event"


@pytest.mark.parametrize(
    ("text", "limit", "kept"),
    [
        ("abc", 3, "abc"),
        ("abcd", 3, "ab…"),
        ("🟢🟢", 3, "🟢…"),
        ("🟢🟢", 4, "🟢🟢"),
        ("🟢", 1, "…"),
        ("ab", 0, ""),
    ],
)
def test_texts_are_cut_between_characters(text: str, limit: int, kept: str) -> None:
    assert cut(text, limit) == kept
    assert length(kept) <= limit


def test_the_last_lines_are_kept_whole_and_in_order() -> None:
    assert last_lines(["one", "two", "three"], 9) == "two\nthree"
    assert last_lines(["one", "two", "three"], 8) == "three"
    assert last_lines(["<<<"], 5, lambda line: line.replace("<", "&lt;")) == ""
    assert last_lines([], 100) == ""
    assert last_lines(["x" * 400], 1000, longest=5) == "xxxx…"
