"""Fills every table of an installation, or prints all rows, or uses them. Run as `-m … fill|print|use`."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import django

django.setup()

from django.contrib.auth.models import User  # noqa: E402  (needs the apps, as all below)
from django.db import models, transaction  # noqa: E402

from core.access import Role, authenticate_token, create_token  # noqa: E402
from core.backup.copying import tables  # noqa: E402
from metrics.models import ResourceUsage, ResourceUsageHour  # noqa: E402
from programs import services  # noqa: E402
from programs.definition.environment import environment_of  # noqa: E402
from programs.models import Program, ProgramEvent  # noqa: E402
from programs.states import Action  # noqa: E402
from webhooks.models import WebhookEndpoint  # noqa: E402
from webhooks.services import save_endpoint  # noqa: E402

START = datetime(2026, 10, 25, 0, 30, 0, 123456, tzinfo=UTC)
HISTORY = 3000


def fill() -> str:
    user = User.objects.create_superuser("root", password=None)
    secret = {"name": "TOKEN", "value": "s3cret", "secret": True}
    program = services.save_definition(
        {"name": "wéb", "command": "sleep 1", "environment": [secret]}, actor="root"
    ).program
    services.request(program, Action.START, actor="root")
    save_endpoint({"name": "ops", "url": "http://127.0.0.1:9/hook", "format": "standard"}, actor="root")
    with transaction.atomic():
        for number in range(10, HISTORY):
            row(ResourceUsage, number).save(force_insert=True)
    for model in tables():
        for number in range(1, 3):
            add(model, number)
    assert all(model._base_manager.exists() for model in tables())
    data = {"text": "nul \x00 inside", "list": ["\x00"]}
    ProgramEvent.objects.filter(type="program.created").update(data=data, actor="x" * 400)
    return create_token(user, "test", Role.ADMIN)[1]


def add(model: type[models.Model], number: int) -> None:
    if not isinstance(model._meta.pk, models.AutoField) or model._base_manager.count() < number:
        model._base_manager.bulk_create([row(model, number)], ignore_conflicts=True)


def row(model: type[models.Model], number: int) -> models.Model:
    fields = [field for field in model._meta.local_concrete_fields if not isinstance(field, models.AutoField)]
    return model(**{field.attname: value(field, number) for field in fields})


def value(field: Any, number: int) -> Any:
    if isinstance(field, models.ForeignKey):
        related = field.related_model._base_manager.order_by("pk")
        return related[min(number, related.count()) - 1].pk if related.exists() else None
    kinds: list[tuple[type, Any]] = [
        (models.DateTimeField, START), (models.BooleanField, number % 2 == 0), (models.JSONField, {"ü": [number]}),
        (models.FloatField, number + 0.1), (models.IntegerField, number), (models.GenericIPAddressField, "::1"),
        (models.BinaryField, b"\0\xff%d" % number),
    ]  # fmt: skip
    found = next((made for kind, made in kinds if isinstance(field, kind)), f"{number}-ü")
    return found[: field.max_length] if isinstance(found, str) else found


def print_() -> str:
    """Each table's rows as Django reads them, but for the entry that the copy itself adds."""
    return json.dumps({model._meta.db_table: rows(model) for model in tables()})


def rows(model: type[models.Model]) -> list[str]:
    """PostgreSQL sorts the keys of JSON objects."""
    values = model._base_manager.values_list(*(f.attname for f in model._meta.local_concrete_fields))
    found = (json.dumps(one, default=repr, sort_keys=True) for one in values)
    return sorted(text for text in found if "database.copied" not in text)


def use(token: str) -> str:
    """What people do next with it."""
    assert authenticate_token(token) is not None
    program = Program.objects.get(name="wéb")
    assert environment_of(program) == {"TOKEN": "s3cret"}
    assert WebhookEndpoint.objects.get(name="ops").url == "http://127.0.0.1:9/hook"
    assert ResourceUsage.objects.count() >= HISTORY - 10
    assert ResourceUsageHour.objects.exists()
    WebhookEndpoint.objects.exclude(name="ops").update(enabled=False)  # made up, and no event could be matched
    before = ProgramEvent.objects.order_by("-seq")[0]
    services.save_definition({"name": "next", "command": "sleep 1"}, actor="root")
    after = ProgramEvent.objects.order_by("-seq")[0]
    assert (after.type, after.seq > before.seq, after.pk > before.pk) == ("program.created", True, True)
    return "done"


if __name__ == "__main__":
    COMMANDS: dict[str, Callable[..., str]] = {"fill": fill, "print": print_, "use": use}
    print(COMMANDS[sys.argv[1]](*sys.argv[2:]))
