"""People with tokens, programs with processes written as the agent writes them, and a client that speaks JSON."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import Any

from django.contrib.auth.models import User
from django.db import transaction
from django.test import Client
from django.utils import timezone

from core.access import Role, create_token, set_role
from core.models import Sequence
from programs import services
from programs.models import Host, Process, Program

PROBLEM = "application/problem+json"


def person(role: Role | None = Role.ADMIN, name: str = "") -> User:
    user = User.objects.create_user(name or f"{role or 'nobody'}-{User.objects.count()}")
    if role:
        set_role(user, role)
    return user


def token(role: Role = Role.ADMIN) -> str:
    """The token of a new person with that role."""
    return create_token(person(role), "test", role)[1]


class Api:
    """Calls with a token, and gives the status with the JSON of the answer."""

    def __init__(self, role: Role = Role.ADMIN) -> None:
        self.token = token(role)
        self.client = Client(headers={"Authorization": f"Bearer {self.token}"}, raise_request_exception=False)

    def send(self, method: str, path: str, body: Any = None, **options: Any) -> Any:
        data = "" if body is None else json.dumps(body)
        kind = "application/json" if data else ""
        return self.client.generic(method, f"/api{path}", data, content_type=kind, **options)

    def __call__(self, method: str, path: str, body: Any = None, **options: Any) -> tuple[int, Any]:
        answer = self.send(method, path, body, **options)
        return answer.status_code, json.loads(answer.content) if answer.content else None

    def get(self, path: str) -> Any:
        """The JSON of a reading that works."""
        status, found = self("GET", path)
        assert status == 200, found
        return found


def host(name: str = "testhost", *, is_alive: bool = True, **fields: Any) -> Host:
    beat = timezone.now() if is_alive else timezone.now() - timedelta(minutes=5)
    fields.setdefault("is_default", True)
    return Host.objects.update_or_create(name=name, defaults={"heartbeat_at": beat, **fields})[0]


def define(name: str = "web", **fields: Any) -> Program:
    return services.save_definition({"name": name, "command": "sleep 60", **fields}, actor="tester").program


def write(program: Program, index: int = 0, **values: Any) -> Process:
    """What the agent does: the row with a fresh revision."""
    with transaction.atomic():
        values["revision"] = Sequence.advance()
        return Process.objects.update_or_create(program=program, index=index, defaults=values)[0]


def running(
    program: Program, index: int = 0, pid: int = 4242, started_at: datetime | None = None, **values: Any
) -> Process:
    return write(program, index, state="running", pid=pid, started_at=started_at or timezone.now(), **values)
