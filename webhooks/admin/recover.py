"""Sending again what failed, and for the first time what was missed: counted first, done on a second press."""

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

from .endpoint_actions import EndpointVerbs
from .responses import REFUSALS, guarded, page_of, words_of

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
    """`since`: what counts is the moment, if one was given, else the span."""

    span = forms.ChoiceField(
        label=gettext_lazy("What happened in"),
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
        return moment_of(self.cleaned_data["moment"])

    def since(self) -> datetime:
        given: datetime | None = self.cleaned_data["moment"]
        return given or timezone.now() - timedelta(hours=int(self.cleaned_data["span"] or 24))


def moment_of(text: str) -> datetime | None:
    """None for an empty text. Raises ValidationError for what is no moment, or too long ago."""
    if not text.strip():
        return None
    wrong = ValidationError(_("Write a day and a time, such as 2026-01-31 18:00."))
    try:
        found = parse_datetime(text.strip())
        if found is None:
            raise wrong
        found = found if timezone.is_aware(found) else timezone.make_aware(found)
        is_near = timezone.now() - EARLIEST < found
    except (ValueError, OverflowError):
        raise wrong from None
    if not is_near:
        raise ValidationError(_("That is too long ago."))
    return found


class CatchingUp(EndpointVerbs):
    """The page of both, and what its two buttons do."""

    def catching_up_urls(self) -> list[URLPattern]:
        view = guarded(self.admin_site, Role.OPERATE, self.catch_up_view)
        return [path("<int:object_id>/catch-up/", view, name="webhooks_endpoint_catch_up")]

    def catch_up_view(self, request: HttpRequest, object_id: int) -> HttpResponse:
        endpoint = get_object_or_404(WebhookEndpoint, pk=object_id)
        if request.method == "POST":
            return self._do(request, endpoint)
        form = SinceForm(request.GET if "span" in request.GET or "moment" in request.GET else None)
        context = {"title": _("Catch up"), "endpoint": endpoint, "form": form, "back": page_of(endpoint)}
        return self._page(request, "catch_up.html", context | _counted(endpoint, form))

    def _do(self, request: HttpRequest, endpoint: WebhookEndpoint) -> HttpResponse:
        """What was counted is done as of the same moment, whenever the second press comes."""
        try:
            since = moment_of(request.POST.get("since", ""))
        except ValidationError:
            since = None
        verb = VERBS.get(request.POST.get("what", ""))
        if since is None or verb is None:
            messages.error(request, _("Choose what is to be sent."))
            return HttpResponseRedirect(request.path)
        try:
            count = verb(endpoint, since=since, actor=principal_of(request))
        except REFUSALS as error:
            messages.error(request, words_of(error))
            return HttpResponseRedirect(page_of(endpoint))
        text = ngettext("%(n)d message is on its way.", "%(n)d messages are on their way.", count)
        messages.success(request, text % {"n": count})
        return HttpResponseRedirect(page_of(endpoint))


VERBS = {"failed": services.recover, "missing": services.replay_missing}


def _counted(endpoint: WebhookEndpoint, form: SinceForm) -> dict[str, Any]:
    if not form.is_bound or not form.is_valid():
        return {}
    since = form.since()
    found = {"since": since, "failed": services.failed_since(endpoint, since).count()}
    try:
        return {**found, "missing": len(services.missing_since(endpoint, since))}
    except ValidationError as error:
        return {**found, "too_many": words_of(error)}
