from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from core.rest.auth import StreamCredentials, is_own_origin
from core.rest.inputs import Timestamp
from core.rest.lists import ListQuery, sort_by
from core.timeformat import iso

TIMESTAMP = TypeAdapter(Timestamp)


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("2026-11-23T12:00:00Z", "2026-11-23T12:00:00Z"),
        ("2026-11-23T12:00:00", "2026-11-23T12:00:00Z"),
        ("2026-11-23", "2026-11-23T00:00:00Z"),
        ("2026-11-23T21:00:00+09:00", "2026-11-23T12:00:00Z"),
        ("2026-11-23T21:00:00 09:00", "2026-11-23T12:00:00Z"),  # a plus that was not encoded
        ("2026-11-23 12:00:00", "2026-11-23T12:00:00Z"),
        ("1795435200", "2026-11-23T12:00:00Z"),
    ],
)
def test_a_timestamp_is_accepted_in_several_formats(given: str, meant: str) -> None:
    assert iso(TIMESTAMP.validate_python(given)) == meant


@pytest.mark.parametrize("given", ["", "soon", "2026-13-01", "0001-01-01T00:00:00+14:00", "nan", "1e400"])
def test_an_invalid_timestamp_is_refused(given: str) -> None:
    with pytest.raises(ValidationError):
        TIMESTAMP.validate_python(given)


def test_a_timestamp_is_printed_in_utc_with_its_fraction() -> None:
    assert iso(datetime(2026, 1, 2, 3, 4, 5, 600_000, UTC)) == "2026-01-02T03:04:05.600000Z"
    assert iso(None) is None


def test_items_without_a_value_are_sorted_last_in_both_directions() -> None:
    items: list[dict[str, Any]] = [
        {"n": 2, "name": "a"},
        {"n": None, "name": "b"},
        {"n": 3, "name": "c"},
        {"n": 2, "name": "d"},
    ]
    names = {
        columns: "".join(str(item["name"]) for item in sort_by(items, columns.split(",")))
        for columns in ("n", "-n", "n,-name", "-n,name")
    }
    assert names == {"n": "adcb", "-n": "cadb", "n,-name": "dacb", "-n,name": "cadb"}


def listing(**query: str) -> ListQuery:
    return ListQuery.model_validate(query)


def test_spaces_and_empty_entries_in_a_field_list_are_ignored() -> None:
    assert listing(fields=" id ,,name,").selected_fields(("id", "name")) == ["id", "name"]
    assert listing(fields=" , ").selected_fields(("id",)) is None
    assert listing(ordering=" -a , b").order({"a": "x", "b": "y"}, "a") == ["-x", "y"]


@pytest.mark.parametrize(
    ("origin", "host", "is_ours"),
    [
        ("http://localhost:8000", "localhost:8000", True),
        ("http://LOCALHOST:8000", "localhost:8000", True),
        ("http://[::1]:8000", "[::1]:8000", True),
        ("http://localhost", "localhost:80", True),
        ("http://localhost:8000", "localhost:8001", False),
        ("https://localhost:8000", "localhost:8000", False),
        ("http://localhost:8000", "127.0.0.1:8000", False),
        ("http://localhost:8000.evil.example", "localhost:8000", False),
        (
            "http://evil.example",
            "evil.example",
            False,
        ),  # DNS rebinding: a foreign name that resolves to our address
        ("http://localhost:nonsense", "localhost:8000", False),
        ("null", "localhost:8000", False),
        ("", "", False),
    ],
)
def test_only_the_sites_own_origin_is_accepted(origin: str, host: str, is_ours: bool) -> None:
    assert is_own_origin({"origin": origin, "host": host}) is is_ours


def test_behind_tls_the_proxys_header_decides_the_scheme(settings: Any) -> None:
    settings.SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    headers = {"origin": "https://localhost", "host": "localhost"}
    assert not is_own_origin(headers)
    assert is_own_origin({**headers, "x-forwarded-proto": "https"})
    settings.CSRF_TRUSTED_ORIGINS = ["https://localhost"]
    assert is_own_origin(headers)


@pytest.mark.parametrize(
    ("headers", "token", "session"),
    [
        ({"authorization": "Bearer abc"}, "abc", None),
        ({"authorization": "bearer  abc "}, "abc", None),
        ({"authorization": "Bearer abc", "cookie": "sessionid=x"}, "abc", None),
        ({"authorization": "Basic abc", "cookie": "sessionid=x"}, None, "x"),
        ({"cookie": "a=1; sessionid=x; b"}, None, "x"),
        ({"cookie": ";;=; sessionid"}, None, None),
        ({}, None, None),
    ],
)
def test_credentials_are_taken_from_headers(
    headers: dict[str, str], token: str | None, session: str | None
) -> None:
    assert StreamCredentials.from_headers(headers) == StreamCredentials(token, session)


@pytest.mark.django_db
def test_empty_credentials_have_no_principal() -> None:
    assert StreamCredentials(None, None).principal() is None
    assert StreamCredentials(None, "no such session").principal() is None
    assert StreamCredentials("pm_nonsense", None).principal() is None
    assert StreamCredentials("", None).principal() is None
