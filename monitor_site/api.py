"""The root of the JSON API: routers of all apps, and what applies to every route."""

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
    """Stricter than Python's parser: no NaN, no lone surrogates, limited nesting."""

    def parse_body(self, request: HttpRequest) -> DictStrAny:
        parsed: DictStrAny = orjson.loads(request.body)
        return parsed


class JsonRenderer(BaseRenderer):
    media_type = JSON

    def render(self, request: HttpRequest, data: Any, *, response_status: int) -> bytes:
        return orjson.dumps(data)


class MonitorAPI(NinjaAPI):
    def create_temporal_response(self, request: HttpRequest) -> HttpResponse:
        # Ninja calls this first for an authenticated request, so unread bodies and parameters are refused here.
        refuse_foreign_body(request)
        refuse_unknown_parameters(request)
        return super().create_temporal_response(request)

    def get_openapi_schema(self, **options: Any) -> OpenAPISchema:
        document = super().get_openapi_schema(**options)
        for methods in document["paths"].values():
            for operation in methods.values():
                operation["responses"].setdefault("default", problems.OPENAPI)  # any route may fail
        return document


def refuse_foreign_body(request: HttpRequest) -> None:
    # A form on another site cannot send the JSON content type, so this also protects against CSRF.
    if request.body and request.content_type != JSON:
        raise HttpError(415, f"Send the body as {JSON}, not as {request.content_type or 'an unnamed type'}.")


def refuse_unknown_parameters(request: HttpRequest) -> None:
    # Otherwise a misspelt filter would return everything.
    known: frozenset[str] = getattr(request, "known_parameters", frozenset())
    if unknown := sorted(request.GET.keys() - known):
        raise SchemaError(
            [{"loc": ("query", name), "msg": f"Unknown parameter; {_hint(known)}"} for name in unknown]
        )


def _hint(names: frozenset[str]) -> str:
    return f"use {', '.join(sorted(names))}." if names else "this route takes none."


def readers_only(view: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
    """Protects the API documentation: scripts get 401, browsers are redirected to the login page."""

    @wraps(view)
    def protected(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        try:
            if any(callback(request) for callback in auth.READ):
                return view(request, *args, **kwargs)
        except HttpError as error:
            return problems.problem(error.status_code, str(error))
        return (
            redirect_to_login(request.get_full_path()) if request.accepts("text/html") else problems.problem(401)
        )

    return protected


def store_parameters(run: Callable[..., Any]) -> Callable[..., Any]:
    operation: Operation = run.__self__  # type: ignore[attr-defined]  # Ninja decorates the bound method `run`
    models = [model for model in operation.models if model.__ninja_param_source__ == "query"]
    known = frozenset(name for model in models for name in model.__ninja_flatten_map__)

    def with_known_parameters(request: HttpRequest, **parameters: Any) -> Any:
        request.known_parameters = known  # type: ignore[attr-defined]  # ours
        return run(request, **parameters)

    return with_known_parameters


api = MonitorAPI(
    title="Program monitor",
    version=settings.VERSION,
    description="Starts, watches and restarts the programs of a machine. Guide: docs/api.md",
    urls_namespace="api",
    auth=auth.ADMIN,  # the default of routes that name no role
    parser=JsonParser(),
    renderer=JsonRenderer(),
    docs_decorator=readers_only,
)
api.add_decorator(store_parameters, mode="view")
api.add_router("", programs_router)
api.add_router("/metrics", metrics_router)
api.add_router("/metrics/alerts", alerts_router)
api.add_router("", webhooks_router)
api.add_router("/system", system_router)
api.add_router("/system", errors_router)
problems.install(api)
