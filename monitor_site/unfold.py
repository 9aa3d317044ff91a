"""Unfold's settings: title, colours and sidebar of the admin.

The settings module imports it, so heavy imports are inside the functions.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django.utils.translation import gettext_lazy as _

if TYPE_CHECKING:
    from django.http import HttpRequest


@dataclass(frozen=True)
class SidebarEntry:
    """A link to the list of a model, or to a page of ours.

    The model's admin decides who sees it, so the sidebar has no links that lead to 403.
    """

    title: Any
    icon: str
    model: str  # "programs.Program"
    page: str = "{model}_changelist"
    permission: str = "view"
    namespace: str = "admin:"
    badge: str = ""  # dotted path of a function: request → text

    def item(self, request: HttpRequest) -> dict[str, Any] | None:
        from django.contrib import admin
        from django.urls import reverse
        from django.utils.module_loading import import_string

        app, name = self.model.lower().split(".")
        registry = {model._meta.label_lower: model_admin for model, model_admin in admin.site._registry.items()}
        model_admin = registry.get(f"{app}.{name}")
        if model_admin is None or not getattr(model_admin, f"has_{self.permission}_permission")(request):
            return None
        link = reverse(self.namespace + self.page.format(model=f"{app}_{name}"))
        item = {"title": self.title, "icon": self.icon, "link": link, "active": False}
        if self.badge and (text := import_string(self.badge)(request)):
            item["badge"] = text
        return item


SIDEBAR: list[tuple[Any, list[SidebarEntry]]] = [
    (
        "",
        [
            SidebarEntry(_("Overview"), "monitoring", "programs.Program", "index"),
            SidebarEntry(
                _("Programs"), "terminal", "programs.Program", badge="monitor_site.dashboard.fatal_badge"
            ),
            SidebarEntry(_("Events"), "list_alt", "programs.ProgramEvent"),
            SidebarEntry(_("Incidents"), "report", "programs.Incident"),
            SidebarEntry(_("Hosts"), "dns", "programs.Host"),
            SidebarEntry(_("History"), "history", "metrics.RecordedProgram"),
            SidebarEntry(_("Adopt a process"), "person_add", "programs.Program", "{model}_adopt", "add"),
        ],
    ),
    (
        _("Alerts"),
        [
            SidebarEntry(_("Alerts"), "notifications", "metrics.Alert", badge="metrics.admin.alerts.badge"),
            SidebarEntry(_("Alert rules"), "rule", "metrics.AlertRule"),
        ],
    ),
    (
        _("Webhooks"),
        [
            SidebarEntry(_("Endpoints"), "webhook", "webhooks.WebhookEndpoint"),
            SidebarEntry(_("Deliveries"), "outbox", "webhooks.WebhookDelivery"),
            SidebarEntry(_("Mutes"), "notifications_paused", "webhooks.WebhookMute"),
        ],
    ),
    (
        _("Access"),
        [
            SidebarEntry(_("Users"), "group", "auth.User"),
            SidebarEntry(_("Groups"), "groups", "auth.Group"),
            SidebarEntry(_("Tokens"), "key", "core.ApiToken"),
            SidebarEntry(_("Audit trail"), "policy", "core.AuditEntry"),
        ],
    ),
    (
        _("Monitor"),
        [
            SidebarEntry(_("Errors"), "bug_report", "core.ErrorGroup"),
            SidebarEntry(_("Cache"), "cached", "core.ErrorGroup", "cache", namespace=""),
        ],
    ),
]


def navigation(request: HttpRequest) -> list[dict[str, Any]]:
    """The user's sidebar. Marks the entry with the longest URL that is a prefix of the page's as active."""
    groups: list[dict[str, Any]] = []
    for title, entries in SIDEBAR:
        items = [item for item in (entry.item(request) for entry in entries) if item]
        groups.append({"title": title, "separator": bool(title), "items": items})
    matching = [item for group in groups for item in group["items"] if request.path.startswith(item["link"])]
    if matching:
        max(matching, key=lambda item: len(item["link"]))["active"] = True
    return [group for group in groups if group["items"]]


def _static(name: str) -> Callable[[HttpRequest], str]:
    def address(request: HttpRequest) -> str:
        from django.templatetags.static import static

        return static(name)

    return address


# On every page, in this order. Those of an area are loaded by its pages.
STYLES = ("tokens", "base", "buttons", "states", "forms", "log")

UNFOLD: dict[str, Any] = {
    "SITE_TITLE": _("Program Monitor"),
    "SITE_HEADER": _("Program Monitor"),
    "SITE_SYMBOL": "monitor_heart",
    "SITE_URL": None,
    "SHOW_VIEW_ON_SITE": False,
    "ENVIRONMENT": "monitor_site.dashboard.environment",
    "GLOBAL_CALLBACK": "monitor_site.dashboard.every_page",
    "DASHBOARD_CALLBACK": "monitor_site.dashboard.overview",
    "STYLES": [_static(f"monitor/css/{name}.css") for name in STYLES],
    "SITE_FAVICONS": [
        {"rel": "icon", "type": "image/svg+xml", "href": _static("monitor/icon.svg")},
    ],
    "BORDER_RADIUS": "6px",
    "COLORS": {
        "primary": {
            "50": "oklch(97.1% .014 200)",
            "100": "oklch(94.2% .03 200)",
            "200": "oklch(89% .055 200)",
            "300": "oklch(81% .085 203)",
            "400": "oklch(70% .11 208)",
            "500": "oklch(60% .11 215)",
            "600": "oklch(50.5% .1 220)",
            "700": "oklch(44% .087 222)",
            "800": "oklch(38% .072 223)",
            "900": "oklch(33% .06 225)",
            "950": "oklch(25% .045 228)",
        },
    },
    "SIDEBAR": {
        "show_search": False,
        "show_all_applications": False,
        "navigation": "monitor_site.unfold.navigation",
    },
}
