"""Routes of the whole site."""

from __future__ import annotations

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern, URLResolver, path, re_path
from django.views.decorators.csrf import csrf_exempt
from django.views.generic import RedirectView

from metrics.prometheus import prometheus_page

from .api import api
from .dashboard import cache_page
from .first_admin_view import first_admin_page
from .problems import problem


@csrf_exempt  # it does nothing
def unknown_api_route(request: HttpRequest) -> HttpResponse:
    return problem(404)


handler400 = "monitor_site.error_pages.bad_request"
handler403 = "monitor_site.error_pages.forbidden"
handler404 = "monitor_site.error_pages.not_found"
handler500 = "monitor_site.error_pages.server_error"

urlpatterns: list[URLPattern | URLResolver] = [
    path("", RedirectView.as_view(pattern_name="admin:index")),
    path("admin/cache/", admin.site.admin_view(cache_page), name="cache"),
    path("admin/", admin.site.urls),
    path("setup/<str:token>/", first_admin_page, name="first_admin"),
    path("api/", api.urls),
    path("metrics", prometheus_page),
    re_path(r"^api/", unknown_api_route),
]
