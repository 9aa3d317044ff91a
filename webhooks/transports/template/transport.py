from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, Literal

from pydantic import ConfigDict, Field

from core.http import OutgoingRequest, Policy
from webhooks.placeholders import (
    IN_HEADER,
    IN_JSON,
    IN_URL,
    NAMES,
    PLACEHOLDER,
    PLAIN,
    EscapeContext,
    TemplateError,
    Values,
    encoded_header,
    fill,
    values_of,
)
from webhooks.transports.base import Body, Transport, TransportSettings
from webhooks.transports.headers import HeaderLines, SecretHeaderLines, entered_headers
from webhooks.transports.text import visible

MAX_BODY = 64 * 1024
FORM = "application/x-www-form-urlencoded"
HEAD = re.compile(r"https?://[^/?#]+", re.IGNORECASE)
# A template must work with values full of special characters, and with missing values.
HOSTILE_VALUES = dict.fromkeys(NAMES, 'a"b\\c\n{}<&>$NAME é 🟢')
MISSING_VALUES: Values = dict.fromkeys(NAMES)


class TooLargeError(TemplateError):
    pass


class TemplateSettings(TransportSettings):
    model_config = ConfigDict(
        json_schema_extra={"examples": [{"headers": "X-Title: $SUMMARY", "body": '{"text": "$SUMMARY"}'}]}
    )

    method: Literal["POST", "PUT", "PATCH", "GET", "DELETE"] = Field("POST", title="Method")
    content_type: str = Field(
        "application/json", max_length=200, title="Content type", description="Determines how values are escaped."
    )
    headers: HeaderLines = Field("", description="One per line: X-Title: $SUMMARY")
    secret_headers: SecretHeaderLines = ""
    body: str = Field(
        "$BODY_JSON",
        max_length=MAX_BODY,
        title="Body",
        description="$SUMMARY inserts text, $SUMMARY_JSON a JSON value including quotes.",
        json_schema_extra={"format": "textarea"},
    )


class Template(Transport[TemplateSettings]):
    kind = "template"
    label = "Custom template"
    url_hint = "https://ntfy.sh"
    url_help = "Any URL. Placeholders such as $NAME are allowed after the host."
    is_chat = False
    is_signed = True
    Settings = TemplateSettings

    def check(self, url: str, settings: Mapping[str, Any], policy: Policy) -> None:
        # Both must work: a template that fails only for some events is found too late.
        for values in (HOSTILE_VALUES, MISSING_VALUES):
            filled = self._request(url, self.parse(settings), values)
            super().check(filled.url, settings, policy)

    def render(self, body: Body, url: str, settings: Mapping[str, Any]) -> OutgoingRequest:
        parsed = self.parse(settings)
        for shorter in _shortened(body):
            with suppress(TooLargeError):
                return self._request(url, parsed, _visible(values_of(shorter)))
        return self._request(url, parsed, _visible(values_of(body)))

    def _request(self, url: str, settings: TemplateSettings, values: Values) -> OutgoingRequest:
        with _error_field("body"):
            body = _body(settings, values)
        with _error_field("url"):
            filled = _url(url, values)
        with _error_field("headers"):
            headers = _headers(settings, values)
        return OutgoingRequest(settings.method, filled, headers, body)


@contextmanager
def _error_field(field: str) -> Iterator[None]:
    try:
        yield
    except TemplateError as error:
        raise type(error)(str(error), field) from None


def _visible(values: Values) -> dict[str, Any]:
    """Texts without characters that reorder or hide what people read. JSON objects stay as they are."""
    return {name: _visible_text(value) for name, value in values.items()}


def _visible_text(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_visible_text(item) for item in value]
    return visible(value) if isinstance(value, str) else value


def _shortened(body: Body) -> Iterator[Body]:
    """`body`, then with ever fewer of the last log lines, then without the details of the event."""
    yield body
    data = body.get("data")
    if not isinstance(data, Mapping):
        return
    process, event = data.get("process"), data.get("event")
    lines = process.get("log_lines") if isinstance(process, Mapping) else None
    if isinstance(process, Mapping) and isinstance(lines, list | tuple):
        for count in range(len(lines) - 1, -1, -1):
            data = {**data, "process": {**process, "log_lines": lines[len(lines) - count :]}}
            yield {**body, "data": data}
    if isinstance(event, Mapping):
        yield {**body, "truncated": True, "data": {**data, "event": {**event, "data": {}}}}


def _body(settings: TemplateSettings, values: Values) -> bytes:
    body = fill(settings.body, values, _context(settings.content_type))
    if _is_json(settings.content_type):
        _check_json(body)
    # Lone surrogates cannot be encoded.
    encoded = body.encode(errors="replace") if settings.method != "GET" else b""
    if len(encoded) > MAX_BODY:
        raise TooLargeError(f"The body has {len(encoded)} bytes; the maximum is {MAX_BODY}.")
    return encoded


def _context(content_type: str) -> EscapeContext:
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
            f"The body is not valid JSON after filling in the placeholders: {error}. "
            'Write text as "$NAME" in quotes, and numbers or optional values as $NAME_JSON without quotes.'
        ) from None


def _url(url: str, values: Values) -> str:
    head = HEAD.match(url)
    if not head or PLACEHOLDER.search(head[0]):
        raise TemplateError(
            "Start the URL with http:// or https:// and the host. Placeholders are not allowed there."
        )
    return fill(url, values, IN_URL)


def _headers(settings: TemplateSettings, values: Values) -> dict[str, str]:
    content_type = settings.content_type if settings.method != "GET" else ""
    lines = f"{settings.headers}\n{settings.secret_headers}"
    return entered_headers(lines, content_type, lambda value: encoded_header(fill(value, values, IN_HEADER)))


TRANSPORT = Template()
