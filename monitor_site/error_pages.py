"""Error pages for browsers. They use no database, which may be the cause. The API has `problems` instead."""

from __future__ import annotations

import sys
from typing import Any

from django.core.exceptions import DisallowedHost
from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse
from django.template.loader import render_to_string
from django.utils.translation import gettext as _

from core.log_context import current_request_id

from .problems import DATABASE_UNAVAILABLE, RETRY_SECONDS

CSRF_HELP = (
    "Reload the form and submit it again. Cookies must be enabled, and behind a reverse proxy the public address "
    "must be in CSRF_TRUSTED_ORIGINS."
)


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    if isinstance(exception, DisallowedHost):
        return _page(
            400, _("This host name is not allowed"), _("Add the host name in your address bar to ALLOWED_HOSTS.")
        )
    return _page(400, _("Invalid request"), _("Check the address, or go back to the overview."))


def forbidden(request: HttpRequest, exception: Exception) -> HttpResponse:
    return _page(
        403, _("Your role does not allow this"), _("Ask an administrator to do it or to change your role.")
    )


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    return _page(403, _("The form was not accepted"), _(CSRF_HELP))


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    return _page(404, _("Page not found"), _("It may have been deleted, or the address is wrong."))


def server_error(request: HttpRequest) -> HttpResponse:
    if isinstance(sys.exc_info()[1], OperationalError | InterfaceError):
        page = _page(503, _("The database is not available"), _(DATABASE_UNAVAILABLE))
        page["Retry-After"] = str(RETRY_SECONDS)
        return page
    return _page(
        500, _("Something went wrong"), _("An administrator finds the details under Errors and in the log.")
    )


def _page(status: int, title: str, text: str) -> HttpResponse:
    context: dict[str, Any] = {"status": status, "title": title, "text": text, "request_id": current_request_id()}
    return HttpResponse(render_to_string("error.html", context), status=status)
