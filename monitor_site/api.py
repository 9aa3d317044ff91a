"""The root of the JSON API. Each app brings a router; what holds for all of them is here."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import orjson
from django.conf import settings
from django.contrib.auth.views import redirect_to_login
from django.http import HttpRequest, HttpResponse
from ninja import NinjaAPI
from ninja.errors import HttpError
from ninja.errors import ValidationError as SchemaError
from ninja.openapi.schema import OpenAPISchema
from ninja.operation import Operation
from ninja.parser import Parser
from ninja.renderers import BaseRenderer
from ninja.types import DictStrAny

from core.errors.api import router as errors_router
from core.rest import auth
from metrics.alerts.api import router as alerts_router
from metrics.api import router as metrics_router
from programs.api import router as programs_router
from webhooks.api import router as webhooks_router

from . import problems
from .system import router as system_router

JSON = "application/json"


class JsonParser(Parser):
    """Stricter than Python's own: no NaN, no half surrogates, no nesting without end."""

    def parse_body(self, request: HttpRequest) -> DictStrAny:
        parsed: DictStrAny = orjson.loads(request.body)
        return parsed


class JsonRenderer(BaseRenderer):
    media_type = JSON

    def render(self, request: HttpRequest, data: Any, *, response_status: int) -> bytes:
        return orjson.dumps(data)


class MonitorAPI(NinjaAPI):
    def create_temporal_response(self, request: HttpRequest) -> HttpResponse:
        """The first thing Ninja does for a caller it has let in: here what no operation reads is refused."""
        refuse_foreign_body(request)
        refuse_unknown_parameters(request)
        return super().create_temporal_response(request)

    def get_openapi_schema(self, **options: Any) -> OpenAPISchema:
        """Every operation may also answer with a problem."""
        document = super().get_openapi_schema(**options)
        for methods in document["paths"].values():
            for operation in methods.values():
                operation["responses"].setdefault("default", problems.OPENAPI)
        return document


def refuse_foreign_body(request: HttpRequest) -> None:
    """A body is JSON and says so, or a page of somebody else could have sent it. Raises HttpError."""
    if request.body and request.content_type != JSON:
        raise HttpError(415, f"Send the body as {JSON}; this one came as {request.content_type or 'nothing'}.")


def refuse_unknown_parameters(request: HttpRequest) -> None:
    """A misspelt filter would otherwise answer with everything. Raises SchemaError."""
    known: frozenset[str] = getattr(request, "known_parameters", frozenset())
    if unknown := sorted(request.GET.keys() - known):
        raise SchemaError(
            [{"loc": ("query", name), "msg": f"There is no such parameter; {_known(known)}"} for name in unknown]
        )


def _known(names: frozenset[str]) -> str:
    return f"known: {', '.join(sorted(names))}." if names else "this address takes none."


def for_readers(view: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
    """Shows the documentation to those who may read: scripts hear 401, browsers are sent to the log-in page."""

    @wraps(view)
    def guarded(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        try:
            if any(callback(request) for callback in auth.READ):
                return view(request, *args, **kwargs)
        except HttpError as error:
            return problems.problem(error.status_code, str(error))
        return (
            redirect_to_login(request.get_full_path()) if request.accepts("text/html") else problems.problem(401)
        )

    return guarded


def note_parameters(run: Callable[..., Any]) -> Callable[..., Any]:
    """Puts the names of the operation's query parameters on each of its requests."""
    operation: Operation = run.__self__  # type: ignore[attr-defined]  # Ninja decorates the bound method `run`
    models = [model for model in operation.models if model.__ninja_param_source__ == "query"]
    known = frozenset(name for model in models for name in model.__ninja_flatten_map__)

    def noted(request: HttpRequest, **parameters: Any) -> Any:
        request.known_parameters = known  # type: ignore[attr-defined]  # ours
        return run(request, **parameters)

    return noted


api = MonitorAPI(
    title="Program monitor",
    version=settings.VERSION,
    description="Starts, watches and explains the programs of a machine. Guide: docs/api.md",
    urls_namespace="api",
    auth=auth.ADMIN,  # an operation that forgets to name its role is for administrators
    parser=JsonParser(),
    renderer=JsonRenderer(),
    docs_decorator=for_readers,
)
api.add_decorator(note_parameters, mode="view")
api.add_router("", programs_router)
api.add_router("/metrics", metrics_router)
api.add_router("/metrics/alerts", alerts_router)
api.add_router("", webhooks_router)
api.add_router("/system", system_router)
api.add_router("/system", errors_router)
problems.install(api)
