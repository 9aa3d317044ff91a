"""Key rotation: re-encrypts the URLs, signing secrets and format settings of endpoints."""

from __future__ import annotations

from core.key_rotation import Visit, register_rotation
from core.models import Sequence

from .models import WebhookEndpoint

COLUMNS = ("encrypted_url", "encrypted_secret", "encrypted_old_secret", "encrypted_settings")


def endpoints(visit: Visit) -> None:
    for row in WebhookEndpoint.objects.select_for_update(no_key=True).values("pk", *COLUMNS).order_by("pk"):
        changed = {name: new for name in COLUMNS if row[name] and (new := visit(row[name])) != row[name]}
        if changed:
            # A new revision makes running workers read the endpoint again.
            WebhookEndpoint.objects.filter(pk=row["pk"]).update(**changed, revision=Sequence.advance())


register_rotation("webhook addresses and secrets", endpoints)
