"""What a browser is shown when there is no page to show. None of it asks the database, which may be the fault.

Under /api/ the same is said as a problem document, see `problems` and `middleware.ApiResponseMiddleware`.
"""

from __future__ import annotations

import sys
from typing import Any

from django.core.exceptions import DisallowedHost
from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse
from django.template.loader import render_to_string
from django.utils.translation import gettext as _

from core.log_context import current_request_id

from .problems import DATABASE, RETRY_SECONDS

FORGED = (
    "Reload the page it came from and send it again. Cookies must be on, and behind a reverse proxy the address "
    "that people use must stand in CSRF_TRUSTED_ORIGINS."
)


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    if isinstance(exception, DisallowedHost):
        return _page(
            400, _("This name is not known here"), _("Add the name or address you came by to ALLOWED_HOSTS.")
        )
    return _page(400, _("The request makes no sense"), _("Something in the address is not understood."))


def forbidden(request: HttpRequest, exception: Exception) -> HttpResponse:
    return _page(403, _("Your role does not allow this"), _("An administrator can do it, or change your role."))


def forged(request: HttpRequest, reason: str = "") -> HttpResponse:
    """The form did not come with its token: an old page, cookies that are off, a proxy nobody told us about."""
    return _page(403, _("The form was not accepted"), _(FORGED))


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    return _page(
        404, _("There is nothing at this address"), _("It may have been removed, or the link is mistyped.")
    )


def failed(request: HttpRequest) -> HttpResponse:
    if isinstance(sys.exc_info()[1], OperationalError | InterfaceError):
        page = _page(503, _("The database cannot be used at the moment"), _(DATABASE))
        page["Retry-After"] = str(RETRY_SECONDS)
        return page
    return _page(500, _("Something went wrong here"), _("It is counted among the errors, and the log has more."))


def _page(status: int, title: str, text: str) -> HttpResponse:
    context: dict[str, Any] = {"status": status, "title": title, "text": text, "request_id": current_request_id()}
    return HttpResponse(render_to_string("error.html", context), status=status)
