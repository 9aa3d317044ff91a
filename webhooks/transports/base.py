"""Base class of the formats. Each format is a folder here whose `transport.py` defines `TRANSPORT`."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Generic, TypeVar

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from core.http import OutgoingRequest, OutgoingResponse, Policy, check_url, masked_url
from core.masking import masked
from core.secrets import mask
from webhooks.placeholders import TemplateError

Body = Mapping[str, Any]
JSON = "application/json"
# Replaces messages of pydantic that are written for programmers.
ERROR_TEXTS = {
    "string_pattern_mismatch": "This does not have the required format.",
    "missing": "This field is required.",
    "extra_forbidden": "Unknown setting.",
}
MIN_SECRET_LENGTH = 4  # masking shorter ones would make a text unreadable

# A setting that is never shown again.
Secret = Annotated[str, Field(json_schema_extra={"format": "password", "writeOnly": True})]


class TransportSettings(BaseModel):
    """Settings of a format. Unknown ones are refused. Titles and descriptions are shown in the form."""

    model_config = ConfigDict(extra="forbid", str_strip_whitespace=True, frozen=True)


class SettingsError(ValueError):
    """`errors`: field → messages; the field is empty for errors of the whole."""

    def __init__(self, errors: dict[str, list[str]]) -> None:
        super().__init__("; ".join(f"{name}: {' '.join(texts)}".strip(": ") for name, texts in errors.items()))
        self.errors = errors


S = TypeVar("S", bound=TransportSettings)


class Transport(ABC, Generic[S]):
    """Renders events as requests of one format, and interprets the responses of its service.

    `is_chat`: read by people, so late messages expire and events can be bundled. `is_signed`: Standard Webhooks
    headers are added to the rendered request. `uses_own_client`: sends without our HTTP client, so TLS settings of
    the endpoint do not apply. `url_hint`: example URL; `url_help`: where to get one. Stateless: one instance for
    all endpoints.
    """

    kind: ClassVar[str]
    label: ClassVar[str]
    url_hint: ClassVar[str] = "https://…"
    url_help: ClassVar[str] = ""
    is_chat: ClassVar[bool] = True
    is_signed: ClassVar[bool] = False
    uses_own_client: ClassVar[bool] = False
    Settings: type[S]

    def schema(self) -> dict[str, Any]:
        """JSON Schema (2020-12) of the settings; secret ones have `writeOnly`."""
        return self.Settings.model_json_schema()

    def secret_fields(self) -> frozenset[str]:
        properties = self.schema().get("properties", {})
        return frozenset(name for name, field in properties.items() if field.get("writeOnly"))

    def secret_texts(self, settings: Mapping[str, Any]) -> list[str]:
        # Also the values of `Name: value` lines: a response may repeat only those.
        whole = [str(settings[name]) for name in self.secret_fields() if settings.get(name)]
        values = [line.partition(":")[2].strip() for text in whole for line in text.splitlines()]
        tokens = [value.rpartition(" ")[2] for value in values]  # without "Bearer"
        return [text for text in {*whole, *values, *tokens} if len(text) >= MIN_SECRET_LENGTH]

    def parse(self, given: Mapping[str, Any]) -> S:
        """Raises SettingsError."""
        try:
            return self.Settings.model_validate(dict(given))
        except ValidationError as error:
            raise SettingsError(_texts(error)) from error

    def check(self, url: str, settings: Mapping[str, Any], policy: Policy) -> None:
        """Called before an endpoint is saved. Raises SettingsError, TemplateError, RefusedError (the URL)."""
        self.parse(settings)
        check_url(url, policy)

    def masked(self, url: str) -> str:
        return masked_url(url)

    @abstractmethod
    def render(self, body: Body, url: str, settings: Mapping[str, Any]) -> OutgoingRequest:
        """Raises TemplateError, SettingsError."""

    def render_bundle(self, bodies: Sequence[Body], url: str, settings: Mapping[str, Any]) -> OutgoingRequest:
        """One request for several events, oldest first. Raises TemplateError unless `is_chat`."""
        raise TemplateError(f"{self.label} messages cannot be bundled.")

    def count_fitting(self, bodies: Sequence[Body]) -> int:
        """How many of `bodies`, from the first on, one message of `render_bundle` shows in full; at least one."""
        low, high = 1, len(bodies)
        while low < high:
            middle = (low + high + 1) // 2
            if self.fits(bodies[:middle]):
                low = middle
            else:
                high = middle - 1
        return low

    def fits(self, bodies: Sequence[Body]) -> bool:
        return False

    async def send(self, client: Client, request: OutgoingRequest, *, deadline: float) -> OutgoingResponse:
        """Sends a rendered request within `deadline` seconds. Raises RefusedError, TransportError."""
        return await client.send(request, deadline=deadline)

    def is_permanent(self, response: OutgoingResponse) -> bool:
        """Whether a retry cannot help, because the service says that the URL is no longer valid."""
        return False

    def error_sentence(self, response: OutgoingResponse) -> str:
        """Why the service refuses the message, in its own words; empty if it does not say."""
        return ""

    def rate_limited(self, response: OutgoingResponse) -> float | None:
        """Seconds to wait, if the response contains them in the service's own way (not as Retry-After)."""
        return None


def _texts(error: ValidationError) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for item in error.errors(include_url=False, include_input=False, include_context=False):
        field = str(item["loc"][0]) if item["loc"] else ""
        # pydantic adds this prefix to errors of our own validators.
        text = ERROR_TEXTS.get(item["type"], item["msg"].removeprefix("Value error, "))
        found.setdefault(field, []).append(text)
    return found


def json_bytes(value: Any) -> bytes:
    try:
        return orjson.dumps(value, default=str)
    except TypeError:  # lone surrogates or integers over 64 bits, which orjson refuses
        return json.dumps(value, default=str, separators=(",", ":")).encode()


def masked_request(
    transport: Transport[Any], request: OutgoingRequest, settings: Mapping[str, Any]
) -> dict[str, Any]:
    hidden = transport.secret_texts(settings)
    headers = {name: mask(value, hidden) for name, value in request.headers.items()}
    return {
        "method": request.method,
        "url": transport.masked(request.url),
        "headers": masked(headers),
        "body": mask(request.body.decode(errors="replace"), hidden),
    }


if TYPE_CHECKING:
    from core.http import Client
