from __future__ import annotations

from typing import Any

import pytest

from webhooks.tests.sample_bodies import CRASH, LINK, crash_body
from webhooks.transports.message import MessageTone, build_digest, build_message
from webhooks.transports.text import cut, last_lines, length


def test_the_facts_of_a_crash_are_in_order() -> None:
    message = build_message(CRASH)
    assert (message.tone, message.program, message.link) == (MessageTone.ERROR, "my_web", LINK)
    assert message.facts == (
        ("Program", "my_web (instance 2)"),
        ("Host", "nas"),
        ("Restarts in the last hour", "3"),
        ("When", "2026-01-02 12:03:04 UTC"),
    )


def test_the_facts_of_an_alert() -> None:
    data = {
        "rule": "hot", "measure": "CPU", "unit": "percent", "condition": "above", "threshold": 90.0,
        "value": 12.5, "highest": 99.25, "lowest": 12.5, "seconds": 300, "why": "recovered",
    }  # fmt: skip
    event = {"type": "alert.resolved", "severity": "info", "actor": "agent", "data": data}
    summary = "Alert hot for my_web resolved after 5 min: recovered"
    body = {**crash_body(event=event, summary=summary, process={}), "type": "alert.resolved"}
    message = build_message(body)
    assert (message.tone, message.headline) == (MessageTone.GOOD, summary)
    assert message.facts[:-1] == (
        ("CPU", "12.5 %"),
        ("Highest, lowest", "99.25 % / 12.5 %"),
        ("Threshold", "above 90 %"),
        ("Host", "nas"),
    )


def test_facts_that_the_headline_does_not_say_are_listed() -> None:
    facts = dict(
        build_message(crash_body(summary="it happened again", process={**CRASH["data"]["process"]})).facts
    )
    assert (facts["Exited with"], facts["Uptime before"]) == ("exit code 1", "1 h 6 min")


def test_a_fact_is_not_taken_for_a_part_of_another_number_or_word() -> None:
    body = crash_body(summary="myweb2 crashed after 14 s", program={"name": "web"}, process={"uptime_seconds": 4})
    assert {("Program", "web"), ("Uptime before", "4 s")} <= set(build_message(body).facts)


@pytest.mark.parametrize("restarts", [0, None])
def test_no_restarts_are_no_fact(restarts: int | None) -> None:
    facts = build_message(crash_body(process={"restarts_last_hour": restarts})).facts
    assert "Restarts in the last hour" not in dict(facts)


def test_times_are_in_the_zone_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Europe/Berlin")
    assert ("When", "2026-01-02 13:03:04 CET") in build_message(CRASH).facts
    assert build_digest([CRASH, CRASH]).lines[0].startswith("🔴 13:03:04 ")


def test_times_are_in_the_language_of_the_settings(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Asia/Seoul")
    settings.LANGUAGE_CODE = "ko"
    when = dict(build_message(CRASH).facts)["When"]
    assert "2026년 1월 2일" in when and "오후" in when and when.endswith("KST")


def test_a_time_at_the_edge_of_the_calendar_still_makes_a_message(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Asia/Seoul")
    assert build_message({**CRASH, "timestamp": "9999-12-31T23:59:59Z"}).headline


def test_a_digest_links_to_the_list_of_events(settings: Any) -> None:
    settings.PUBLIC_URL = "https://monitor.example/ops"
    assert build_digest([CRASH, CRASH]).link == "https://monitor.example/ops/admin/programs/programevent/"


def test_an_alert_with_unexpected_data_still_makes_a_message() -> None:
    event = {"type": "alert.firing", "severity": "warning", "data": {"value": "much", "threshold": [], "unit": 5}}
    assert (
        build_message({**crash_body(event=event, process={}), "type": "alert.firing"}).tone is MessageTone.WARNING
    )


def test_a_person_as_actor_is_named_and_the_agent_is_not() -> None:
    assert ("By", "alice") in build_message(crash_body(event={"actor": "alice"})).facts
    assert all(label != "By" for label, _ in build_message(CRASH).facts)


def test_a_meaning_in_the_headline_is_not_repeated() -> None:
    assert build_message(crash_body(summary="It ended: boom", process={"meaning": "boom"})).meaning == ""


def test_tokens_in_log_lines_are_masked() -> None:
    lines = ["connect postgres://me:hunter22@db/x", "Authorization: Bearer abcdefghijkl"]
    text = "\n".join(build_message(crash_body(process={"log_lines": lines})).log_lines)
    assert "hunter22" not in text and "abcdefghijkl" not in text


def test_log_lines_lose_colours_and_keep_indentation() -> None:
    lines = ["  \x1b[31mred\x1b[0m\t\x07x  ", "", "   "]
    assert build_message(crash_body(process={"log_lines": lines})).log_lines == ("  red\tx",)


def test_bidi_controls_and_invisible_characters_are_removed() -> None:
    name = "in\u202evoice\u2066\u200b\u00adfdp\U000e0041"
    message = build_message(crash_body(summary=name, host=name, process={"log_lines": [f"{name}\u2028x"]}))
    assert (message.headline, message.log_lines) == ("invoicefdp", ("invoicefdp x",))
    assert ("Host", "invoicefdp") in message.facts


def test_emoji_sequences_stay_whole() -> None:
    assert build_message(crash_body(summary="👩\u200d💻 up")).headline == "👩\u200d💻 up"


def event(second: int, **changes: Any) -> dict[str, Any]:
    return {**crash_body(**changes), "timestamp": f"2026-01-02T12:03:{second:02}Z"}


def test_a_digest_counts_events_that_differ_in_times_and_counters_only() -> None:
    storm = [event(n, process={**CRASH["data"]["process"], "pid": n, "uptime_seconds": n}) for n in range(20)]
    digest = build_digest([*storm, event(30, program={"name": "db"}, process=None, summary="db crashed")])
    assert (digest.tone, digest.headline) == (MessageTone.ERROR, "21 events of 2 programs within 30 s")
    assert digest.lines == (
        "🔴 12:03:19 my_web crashed: exit code 1 after 1 h 6 min; restarting now (instance 2) (20 times)",
        "🔴 12:03:30 db crashed",
    )


PROCESS = CRASH["data"]["process"]


def alert(**data: Any) -> dict[str, Any]:
    details = {"rule": "cpu", "value": 90.0, "unit": "%", **data}
    return event(1, process=None, event={"type": "alert.firing", "severity": "warning", "data": details})


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (alert(), alert(rule="memory")),
        (alert(), alert(value=99.0)),
        (event(1, process={**PROCESS, "index": 0}), event(1, process={**PROCESS, "index": 1})),
        (event(1), event(1, process={**PROCESS, "exit_code": None, "exit_signal": "SIGKILL"})),
        (event(1), event(1, process={**PROCESS, "out_of_memory": True})),
        (event(1), event(1, host="other")),
        (event(1, event={"severity": "warning"}), event(1, event={"severity": "error"})),
        (event(1, event={"data": {"reason": "a"}}), event(1, event={"data": {"reason": "b"}})),
        (event(1), {**event(1), "type": "program.fatal"}),
    ],
    ids=["rule", "value", "instance", "ending", "memory", "host", "severity", "reason", "type"],
)
def test_a_digest_merges_nothing_distinct(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert len(build_digest([one, other, one]).lines) == 2


def test_a_digest_names_the_instances_of_a_program_that_has_several() -> None:
    several = [event(1, process={**PROCESS, "index": index}, summary="web crashed") for index in (0, 1)]
    single = event(1, program={"name": "db"}, process={**PROCESS, "index": 0}, summary="db crashed")
    lines = build_digest([*several, single]).lines
    assert [line.partition(" ")[2].partition(" ")[2] for line in lines] == [
        "web crashed (instance 0)", "web crashed (instance 1)", "db crashed",
    ]  # fmt: skip


def test_a_digest_has_the_severity_of_its_worst_event() -> None:
    calm, warned = event(1, event={"severity": "info"}), event(2, event={"severity": "warning"})
    assert build_digest([calm, warned, calm]).tone is MessageTone.WARNING


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
