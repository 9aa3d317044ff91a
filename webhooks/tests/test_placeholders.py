from __future__ import annotations

import json
from email.header import decode_header, make_header

import pytest

from webhooks.placeholders import (
    IN_HEADER,
    IN_JSON,
    IN_URL,
    NAMES,
    PLAIN,
    EscapeContext,
    TemplateError,
    encoded_header,
    fill,
    values_of,
)

from .sample_bodies import CRASH, HOSTILE

VALUES = values_of(CRASH)


@pytest.mark.parametrize(
    ("template", "filled"),
    [
        ("$NAME on $HOST", "my_web on nas"),
        ("${NAME}s", "my_webs"),
        ("$EXIT_CODE|$EXIT_SIGNAL|$RESTARTS", "1||3"),
        ("$NAME_JSON $EXIT_CODE_JSON $EXIT_SIGNAL_JSON", '"my_web" 1 null'),
        ("$TAGS|$TAGS_JSON", 'a\nb|["a", "b"]'),
        ("$LOG", "Traceback <most recent>\nValueError: a & b *or* _c_"),
        ("$DATA", '{"delay_seconds": 0}'),
        ("$EVENT $EVENT_ID $SEQ $SEVERITY $TIMESTAMP", "program.crashed evt_1 41 error 2026-01-02T12:03:04.500Z"),
        ("$$NAME costs $5, $name, $ and $", "$NAME costs $5, $name, $ and $"),
        ("$$$NAME", "$my_web"),
        ("", ""),
    ],
)
def test_placeholders_are_replaced_and_other_dollars_stay(template: str, filled: str) -> None:
    assert fill(template, VALUES, PLAIN) == filled


@pytest.mark.parametrize("template", ["$NOPE", "$NAMEX", "${NAME_}", "$NAME_JSON_JSON", "$JSON", "$_JSON $NO"])
def test_an_unknown_placeholder_is_an_error_that_lists_the_known_ones(template: str) -> None:
    with pytest.raises(TemplateError, match=r"is not a placeholder. Use one of \$NAME, "):
        fill(template, VALUES, PLAIN)


def test_values_are_never_expanded_again() -> None:
    values = dict.fromkeys(NAMES, "$HOST ${SUMMARY} {{7*7}} {% x %} %(a)s {0}")
    assert fill("<$NAME>", values, PLAIN) == "<$HOST ${SUMMARY} {{7*7}} {% x %} %(a)s {0}>"


def test_missing_values_are_empty_or_null() -> None:
    values = values_of({"type": "agent.lost", "data": {"program": None, "process": "odd"}})
    assert fill("<$NAME$PID>$NAME_JSON", values, PLAIN) == "<>null"


def test_text_inside_json_is_escaped() -> None:
    values = dict.fromkeys(NAMES, HOSTILE)
    filled = fill('{"a": "$NAME!", "b": $NAME_JSON}', values, IN_JSON)
    assert json.loads(filled) == {"a": f"{HOSTILE}!", "b": HOSTILE}


def test_the_whole_payload_is_one_value() -> None:
    assert json.loads(fill("$BODY_JSON", VALUES, IN_JSON)) == CRASH
    assert json.loads(json.loads(fill('"$BODY"', VALUES, IN_JSON))) == CRASH


@pytest.mark.parametrize(
    ("context", "filled"),
    [
        (IN_URL, "a%20b%2F%3F%26%3D%23%0D%0A%C3%A9"),
        (IN_HEADER, "a b/?&=# é"),
    ],
)
def test_values_are_escaped_for_urls_and_headers(context: EscapeContext, filled: str) -> None:
    assert fill("$NAME", {"NAME": "a b/?&=#\r\né"}, context) == filled


def test_json_in_headers_is_ascii() -> None:
    assert fill("$NAME_JSON", {"NAME": "é"}, IN_HEADER) == '"\\u00e9"'


@pytest.mark.parametrize("text", ["🟢 läuft on nas", "é", "über " * 40, "half \ud83d"])
def test_headers_beyond_ascii_are_encoded_words(text: str) -> None:
    value = encoded_header(fill("$NAME", {"NAME": f"{text}\x85\r\n"}, IN_HEADER))
    assert value.isascii() and "\n" not in value and all(len(word) <= 75 for word in value.split())
    assert str(make_header(decode_header(value))) == text.strip().replace("\ud83d", "?")


def test_ascii_headers_are_kept() -> None:
    assert encoded_header("my_web on nas") == "my_web on nas"
