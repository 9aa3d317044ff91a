"""The admin's page about kept answers: to look at."""

from __future__ import annotations

from django.conf import settings
from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_safe

from core import cache
from core.access import Role
from core.access.guards import role_required


@require_safe
@role_required(Role.READ)
def cache_page(request: HttpRequest) -> HttpResponse:
    place = _("Redis") if settings.REDIS_URL else _("a file of its own in DATA_DIR")
    context = {
        **admin.site.each_context(request),
        "title": _("Cache"),
        "cache": cache.statistics(),
        "place": place,
    }
    return TemplateResponse(request, "admin/cache/cache.html", context)
