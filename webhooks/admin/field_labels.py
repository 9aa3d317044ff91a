"""Labels and help texts of the endpoint form."""

from __future__ import annotations

from django.utils.translation import gettext_lazy as _

LABELS = {
    "name": _("Name"),
    "format": _("Format"),
    "target": _("URL and settings"),
    "enabled": _("Enabled"),
    "events": _("Events"),
    "programs": _("Programs"),
    "tags": _("Tags"),
    "min_severity": _("Minimum severity"),
    "conditions": _("Conditions"),
    "retry_schedule": _("Retry schedule"),
    "timeout_seconds": _("Timeout"),
    "max_concurrency": _("Concurrent requests"),
    "rate_per_second": _("Rate limit"),
    "bundle_seconds": _("Bundle events"),
    "max_age_seconds": _("Maximum age"),
    "verify_tls": _("Verify certificates"),
    "ca_certificates": _("Certificate authorities"),
}

HELP = {
    "name": _("Shown in lists and in the audit trail."),
    "format": _("Discord, Slack, Teams and Telegram for people; signed JSON and templates for programs."),
    "enabled": _("A disabled endpoint gets no deliveries until it is enabled."),
    "events": _("Event types to send. A star matches all types of an area."),
    "programs": _("Only events of these programs, in addition to programs with a tag below. Empty: all programs."),
    "tags": _("Only events of programs with one of these tags. Example: web, prod."),
    "min_severity": _(
        "Crashes and fatal programs are errors; backoff and failed health checks are warnings. Firing alerts have "
        "the severity of their rule, resolved alerts are information."
    ),
    "conditions": _(
        "Further conditions, as JSON. Example, only exit codes other than 0: "
        '{"attr": "data.exit_code", "op": "ne", "value": 0}. Several: {"and": [..., ...]}, "or", "not". '
        "attr is a path into the event. op is one of eq, ne, gt, gte, lt, lte, in, contains."
    ),
    "retry_schedule": _("Delay before each retry. Example: 30s, 5m, 2h, 1d. Empty: no retries."),
    "timeout_seconds": _("For the whole request, 1 to 30 seconds."),
    "max_concurrency": _("1 to 10. With 1, each message waits for the response to the previous one."),
    "rate_per_second": _("Maximum messages per second. 0.5 is one every two seconds."),
    "bundle_seconds": _(
        "Combine the events of this many seconds into one chat message. 0: send each event at once."
    ),
    "max_age_seconds": _(
        "Older events are not sent. Example: 6h, 1d. Empty: one day for chat formats, unlimited for signed ones."
    ),
    "verify_tls": _(
        "Without verification, anyone on the network path can read and change messages. Only superusers may "
        "disable it."
    ),
    "ca_certificates": _(
        "Certificates in PEM format, used instead of the system's authorities. For services with a private CA."
    ),
}
