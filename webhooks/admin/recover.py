"""Recovery page: sends failed deliveries again, and events that were never sent. It counts first, then asks."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from django import forms
from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.urls import URLPattern, path
from django.utils import timezone
from django.utils.dateparse import parse_datetime
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget

from core.access import Role
from core.access.permissions import principal_of
from webhooks import services
from webhooks.models import WebhookEndpoint

from .endpoint_actions import EndpointActions
from .responses import REFUSALS, change_url, error_text, role_view

SPANS = {
    "1": gettext_lazy("the last hour"),
    "6": gettext_lazy("the last 6 hours"),
    "24": gettext_lazy("the last 24 hours"),
    "72": gettext_lazy("the last 3 days"),
    "168": gettext_lazy("the last 7 days"),
    "720": gettext_lazy("the last 30 days"),
}
EARLIEST = timedelta(days=366)


class SinceForm(forms.Form):
    # `moment` wins over `span`. Both are query parameters, so their names stay.
    span = forms.ChoiceField(
        label=gettext_lazy("Events of"),
        choices=list(SPANS.items()),
        required=False,
        initial="24",
        widget=UnfoldAdminSelectWidget(),
    )
    moment = forms.CharField(
        label=gettext_lazy("or since (UTC)"),
        required=False,
        widget=UnfoldAdminTextInputWidget({"placeholder": "2026-01-31 18:00"}),
    )

    def clean_moment(self) -> datetime | None:
        return parse_since(self.cleaned_data["moment"])

    def since(self) -> datetime:
        given: datetime | None = self.cleaned_data["moment"]
        return given or timezone.now() - timedelta(hours=int(self.cleaned_data["span"] or 24))


def parse_since(text: str) -> datetime | None:
    """None for an empty text. Raises ValidationError for an invalid time, or one more than a year ago."""
    if not text.strip():
        return None
    invalid = ValidationError(_("Enter a date and time, such as 2026-01-31 18:00."))
    try:
        found = parse_datetime(text.strip())
        if found is None:
            raise invalid
        # The default time zone of forms is UTC.
        found = found if timezone.is_aware(found) else timezone.make_aware(found)
        is_recent = timezone.now() - EARLIEST < found
    except (ValueError, OverflowError):
        raise invalid from None
    if not is_recent:
        raise ValidationError(_("The time is more than a year ago."))
    return found


class RecoverPage(EndpointActions):
    def recover_urls(self) -> list[URLPattern]:
        view = role_view(self.admin_site, Role.OPERATE, self.recover_view)
        return [path("<int:object_id>/catch-up/", view, name="webhooks_endpoint_catch_up")]

    def recover_view(self, request: HttpRequest, object_id: int) -> HttpResponse:
        endpoint = get_object_or_404(WebhookEndpoint, pk=object_id)
        if request.method == "POST":
            return self._recover(request, endpoint)
        form = SinceForm(request.GET if "span" in request.GET or "moment" in request.GET else None)
        context = {
            "title": _("Recover deliveries"),
            "endpoint": endpoint,
            "form": form,
            "back": change_url(endpoint),
        }
        return self._page(request, "catch_up.html", context | _counts(endpoint, form))

    def _recover(self, request: HttpRequest, endpoint: WebhookEndpoint) -> HttpResponse:
        # The form posts the absolute time that was counted, so what is sent is what was counted.
        try:
            since = parse_since(request.POST.get("since", ""))
        except ValidationError:
            since = None
        action = ACTIONS.get(request.POST.get("what", ""))
        if since is None or action is None:
            messages.error(request, _("Choose what to send."))
            return HttpResponseRedirect(request.path)
        try:
            count = action(endpoint, since=since, actor=principal_of(request))
        except REFUSALS as error:
            messages.error(request, error_text(error))
            return HttpResponseRedirect(change_url(endpoint))
        text = ngettext("%(n)d delivery was queued.", "%(n)d deliveries were queued.", count)
        messages.success(request, text % {"n": count})
        return HttpResponseRedirect(change_url(endpoint))


ACTIONS = {"failed": services.recover, "missing": services.replay_missing}


def _counts(endpoint: WebhookEndpoint, form: SinceForm) -> dict[str, Any]:
    if not form.is_bound or not form.is_valid():
        return {}
    since = form.since()
    found = {"since": since, "failed": services.failed_since(endpoint, since).count()}
    try:
        return {**found, "missing": len(services.missing_since(endpoint, since))}
    except ValidationError as error:
        return {**found, "too_many": error_text(error)}
