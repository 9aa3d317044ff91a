"""What every kind of transport has. A kind is a folder here whose `transport.py` holds a `TRANSPORT`."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Generic, TypeVar

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from core.http import OutgoingRequest, OutgoingResponse, Policy, check_url, masked_url
from webhooks.placeholders import TemplateError

if TYPE_CHECKING:
    from core.http import Client

Body = Mapping[str, Any]
JSON = "application/json"
# What pydantic says of these is meant for programmers.
PLAIN_WORDS = {
    "string_pattern_mismatch": "This is not of the form that is needed here.",
    "missing": "This is needed.",
    "extra_forbidden": "There is no such setting.",
}
SHORTEST_SECRET = 4  # to blank shorter ones would make a text unreadable

# A setting that is encrypted at rest and never shown again.
Secret = Annotated[str, Field(json_schema_extra={"format": "password", "writeOnly": True})]


class TransportSettings(BaseModel):
    """The settings of a kind; unknown ones are refused. Titles and descriptions become those of the form."""

    model_config = ConfigDict(extra="forbid", str_strip_whitespace=True, frozen=True)


class SettingsError(ValueError):
    """Settings that do not fit. `errors`: field → sentences; the field is empty for the whole."""

    def __init__(self, errors: dict[str, list[str]]) -> None:
        super().__init__("; ".join(f"{name}: {' '.join(texts)}".strip(": ") for name, texts in errors.items()))
        self.errors = errors


S = TypeVar("S", bound=TransportSettings)


class Transport(ABC, Generic[S]):
    """How events become requests of one kind, and what the answers of its service mean.

    `is_chat`: read by people, so late messages expire and many can be bundled. `is_signed`: Standard Webhooks
    headers are added to what `render` returns. `dials_itself`: not through our client, so an endpoint's own
    certificates mean nothing to it. `url_hint` is how its URLs look, `url_help` a sentence on where to get one.
    Stateless: one instance serves all endpoints.
    """

    kind: ClassVar[str]
    label: ClassVar[str]
    url_hint: ClassVar[str] = "https://…"
    url_help: ClassVar[str] = ""
    is_chat: ClassVar[bool] = True
    is_signed: ClassVar[bool] = False
    dials_itself: ClassVar[bool] = False
    Settings: type[S]

    def schema(self) -> dict[str, Any]:
        """JSON Schema (2020-12) of the settings; secret ones have `writeOnly`."""
        return self.Settings.model_json_schema()

    def secret_fields(self) -> frozenset[str]:
        properties = self.schema().get("properties", {})
        return frozenset(name for name, field in properties.items() if field.get("writeOnly"))

    def secret_texts(self, settings: Mapping[str, Any]) -> list[str]:
        """What must not be shown of these settings: secret ones, and the values in their `Name: value` lines."""
        whole = [str(settings[name]) for name in self.secret_fields() if settings.get(name)]
        values = [line.partition(":")[2].strip() for text in whole for line in text.splitlines()]
        words = [value.rpartition(" ")[2] for value in values]
        return [text for text in {*whole, *values, *words} if len(text) >= SHORTEST_SECRET]

    def parse(self, given: Mapping[str, Any]) -> S:
        """Raises SettingsError."""
        try:
            return self.Settings.model_validate(dict(given))
        except ValidationError as error:
            raise SettingsError(_texts(error)) from error

    def check(self, url: str, settings: Mapping[str, Any], policy: Policy) -> None:
        """Before an endpoint is saved. Raises SettingsError, TemplateError or RefusedError (the URL)."""
        self.parse(settings)
        check_url(url, policy)

    def masked(self, url: str) -> str:
        """The URL as people may see it."""
        return masked_url(url)

    @abstractmethod
    def render(self, body: Body, url: str, settings: Mapping[str, Any]) -> OutgoingRequest:
        """The request that tells of one event. Raises TemplateError, SettingsError."""

    def render_bundle(self, bodies: Sequence[Body], url: str, settings: Mapping[str, Any]) -> OutgoingRequest:
        """One request that tells of several events, oldest first. Raises TemplateError unless `is_chat`."""
        raise TemplateError(f"{self.label} messages are sent one by one.")

    async def send(self, client: Client, request: OutgoingRequest, *, deadline: float) -> OutgoingResponse:
        """Hands a rendered request over, within `deadline` seconds. Raises RefusedError, TransportError."""
        return await client.send(request, deadline=deadline)

    def is_permanent(self, response: OutgoingResponse) -> bool:
        """Whether trying again can never help, because the service says that the address is no more."""
        return False

    def rate_limited(self, response: OutgoingResponse) -> float | None:
        """Seconds to wait that the answer names in the service's own way (not Retry-After), or None."""
        return None


def _texts(error: ValidationError) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for item in error.errors(include_url=False, include_input=False, include_context=False):
        field = str(item["loc"][0]) if item["loc"] else ""
        text = PLAIN_WORDS.get(item["type"], item["msg"].removeprefix("Value error, "))
        found.setdefault(field, []).append(text)
    return found


def json_bytes(value: Any) -> bytes:
    """JSON in UTF-8. Texts that UTF-8 cannot hold (half of an emoji), or huge numbers, take the slow way."""
    try:
        return orjson.dumps(value, default=str)
    except TypeError:
        return json.dumps(value, default=str, separators=(",", ":")).encode()
