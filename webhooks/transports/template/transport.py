from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Literal

from pydantic import ConfigDict, Field

from core.http import OutgoingRequest, Policy, RefusedError, check_headers
from webhooks.placeholders import (
    IN_HEADER,
    IN_JSON,
    IN_URL,
    NAMES,
    PLACEHOLDER,
    PLAIN,
    Context,
    TemplateError,
    Values,
    fill,
    values_of,
)
from webhooks.transports.base import Body, Secret, Transport, TransportSettings

LONGEST_BODY = 64 * 1024
FORM = "application/x-www-form-urlencoded"
OWN_PREFIX = "webhook-"
HEAD = re.compile(r"https?://[^/?#]+", re.IGNORECASE)
# A template has to do with values that hold everything, and with values that are not there.
NASTY = dict.fromkeys(NAMES, 'a"b\\c\n{}<&>$NAME é 🟢')
MISSING: Values = dict.fromkeys(NAMES)


class TemplateSettings(TransportSettings):
    model_config = ConfigDict(
        json_schema_extra={"examples": [{"headers": "X-Title: $SUMMARY", "body": '{"text": "$SUMMARY"}'}]}
    )

    method: Literal["POST", "PUT", "PATCH", "GET", "DELETE"] = Field("POST", title="Method")
    content_type: str = Field(
        "application/json", max_length=200, title="Content type", description="Decides how values are escaped."
    )
    headers: str = Field(
        "",
        max_length=8000,
        title="Headers",
        description="One a line: X-Title: $SUMMARY",
        json_schema_extra={"format": "textarea"},
    )
    secret_headers: Secret = Field(
        "",
        max_length=8000,
        title="Secret headers",
        description="One a line, as Authorization: Bearer …; kept encrypted and not shown again.",
    )
    body: str = Field(
        "$BODY_JSON",
        max_length=LONGEST_BODY,
        title="Body",
        description="$SUMMARY puts in a text, $SUMMARY_JSON a JSON value with its quotes.",
        json_schema_extra={"format": "textarea"},
    )


class Template(Transport[TemplateSettings]):
    kind = "template"
    label = "Own template"
    url_hint = "https://ntfy.sh"
    url_help = "Any address. Placeholders such as $NAME may stand behind the host."
    is_chat = False
    is_signed = True
    Settings = TemplateSettings

    def check(self, url: str, settings: Mapping[str, Any], policy: Policy) -> None:
        for values in (NASTY, MISSING):
            filled = self._request(url, self.parse(settings), values)
            super().check(filled.url, settings, policy)

    def render(self, body: Body, url: str, settings: Mapping[str, Any]) -> OutgoingRequest:
        return self._request(url, self.parse(settings), values_of(body))

    def _request(self, url: str, settings: TemplateSettings, values: Values) -> OutgoingRequest:
        with _about("body"):
            body = _body(settings, values)
        with _about("url"):
            filled = _url(url, values)
        with _about("headers"):
            headers = _headers(settings, values)
        return OutgoingRequest(settings.method, filled, headers, body)


@contextmanager
def _about(field: str) -> Iterator[None]:
    """Says in which setting a mistake stands."""
    try:
        yield
    except TemplateError as error:
        raise TemplateError(str(error), field) from None


def _body(settings: TemplateSettings, values: Values) -> bytes:
    body = fill(settings.body, values, _context(settings.content_type))
    if _is_json(settings.content_type):
        _check_json(body)
    encoded = body.encode(errors="replace") if settings.method != "GET" else b""
    if len(encoded) > LONGEST_BODY:
        raise TemplateError(f"The body has {len(encoded)} bytes; {LONGEST_BODY} are the most.")
    return encoded


def _context(content_type: str) -> Context:
    if _is_json(content_type):
        return IN_JSON
    return IN_URL if _media_type(content_type) == FORM else PLAIN


def _media_type(content_type: str) -> str:
    return content_type.partition(";")[0].strip().lower()


def _is_json(content_type: str) -> bool:
    media_type = _media_type(content_type)
    return media_type == "application/json" or media_type.endswith("+json")


def _check_json(body: str) -> None:
    try:
        json.loads(body)
    except ValueError as error:
        raise TemplateError(
            f"The body is no JSON once filled in: {error}. Write texts as "
            '"$NAME" in quotes, and what may be missing or a number as $NAME_JSON without.'
        ) from None


def _url(url: str, values: Values) -> str:
    head = HEAD.match(url)
    if not head or PLACEHOLDER.search(head[0]):
        raise TemplateError(
            "Write http:// or https:// and the host of the URL yourself; they cannot be placeholders."
        )
    return fill(url, values, IN_URL)


def _headers(settings: TemplateSettings, values: Values) -> dict[str, str]:
    headers = {"Content-Type": settings.content_type} if settings.method != "GET" else {}
    for line in (settings.headers + "\n" + settings.secret_headers).splitlines():
        if line.strip():
            name, value = _header(line)
            headers[name] = fill(value, values, IN_HEADER)
    try:
        check_headers(headers)
    except RefusedError as error:
        raise TemplateError(str(error)) from None
    return headers


def _header(line: str) -> tuple[str, str]:
    name, colon, value = line.partition(":")
    if not colon:
        raise TemplateError("A line of the headers has no colon; write Name: value.")
    if name.strip().lower().startswith(OWN_PREFIX):
        raise TemplateError(f"The header {name.strip()} is set by the monitor itself.")
    return name.strip(), value.strip()


TRANSPORT = Template()
