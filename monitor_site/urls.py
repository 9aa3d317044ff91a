"""Routes of the whole site."""

from __future__ import annotations

from django.contrib import admin
from django.urls import URLPattern, URLResolver, path

from .first_admin_view import first_admin_page

urlpatterns: list[URLPattern | URLResolver] = [
    path("admin/", admin.site.urls),
    path("setup/<str:token>/", first_admin_page, name="first_admin"),
]
