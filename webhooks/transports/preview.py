"""A rendered request as people may see it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from core.http import OutgoingRequest
from core.masking import masked
from core.secrets import mask

from .base import Transport


def shown(transport: Transport[Any], request: OutgoingRequest, settings: Mapping[str, Any]) -> dict[str, Any]:
    hidden = transport.secret_texts(settings)
    headers = {name: mask(value, hidden) for name, value in request.headers.items()}
    return {
        "method": request.method,
        "url": transport.masked(request.url),
        "headers": masked(headers),
        "body": mask(request.body.decode(errors="replace"), hidden),
    }
