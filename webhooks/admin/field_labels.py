"""Labels and help texts of an endpoint: one sentence each that says what a value does."""

from __future__ import annotations

from django.utils.translation import gettext_lazy as _

LABELS = {
    "name": _("Name"),
    "format": _("Format"),
    "target": _("Address and settings"),
    "enabled": _("Send from now on"),
    "events": _("Events"),
    "programs": _("Programs"),
    "tags": _("Tags"),
    "min_severity": _("At least"),
    "conditions": _("Conditions"),
    "retry_schedule": _("Try again after"),
    "timeout_seconds": _("Give up a try after"),
    "max_concurrency": _("Messages at a time"),
    "rate_per_second": _("Messages per second"),
    "bundle_seconds": _("Bundle events within"),
    "max_age_seconds": _("Too old after"),
    "verify_tls": _("Verify certificates"),
    "ca_certificates": _("Own authorities"),
}

HELP = {
    "name": _("How it is called here and in the audit trail."),
    "format": _("Discord, Slack, Teams and Telegram are for people; signed JSON and own templates for programs."),
    "enabled": _("Otherwise nothing is sent until somebody switches it on."),
    "events": _("What it is told of. A star stands for all of an area."),
    "programs": _("Only events of these. With tags as well: of these and of those with a tag. Empty: of all."),
    "tags": _("Only events of programs with one of these tags: web, prod."),
    "min_severity": _(
        "Crashes and giving up are errors, backoff and failed health checks warnings; an alert is what its rule "
        "says, and its end is information."
    ),
    "conditions": _(
        "For the finer points, as JSON. Only exit codes but 0: "
        '{"attr": "data.exit_code", "op": "ne", "value": 0}. Several: {"and": [..., ...]}, "or", "not". '
        "attr is a path into the event; op is one of eq ne gt gte lt lte in contains."
    ),
    "retry_schedule": _("The pause before each further try: 30s, 5m, 2h, 1d. Empty: one try only."),
    "timeout_seconds": _("Between 1 and 30 seconds for the whole exchange."),
    "max_concurrency": _("1 to 10. With 1, a message waits for the answer to the one before."),
    "rate_per_second": _("Never more than this; 0.5 is one in two seconds."),
    "bundle_seconds": _("Events of this many seconds become one chat message. 0: each is told at once."),
    "max_age_seconds": _(
        "What could not be delivered by then is dropped: 6h, 1d. Empty: a day for chats, never for signed ones."
    ),
    "verify_tls": _(
        "Without it anybody on the way can read and change what is sent. Superusers alone may switch it off."
    ),
    "ca_certificates": _(
        "Certificates in PEM that count instead of the system's, for a service with one of your own."
    ),
}
