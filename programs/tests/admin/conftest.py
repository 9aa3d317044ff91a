"""Clients with roles, and programs in any state without an agent."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from core.access import Role, set_role
from core.models import Sequence
from programs import hosts, services
from programs.models import Host, Process, Program
from programs.states import ALIVE, State

MakeProgram = Callable[..., Program]
LIST = "/admin/programs/program/"


@pytest.fixture
def visitor(db: None) -> Callable[..., Client]:
    """`visitor(Role.READ)` is the client of a user with that role."""

    def make(role: Role, **how: Any) -> Client:
        user = User.objects.create_user(f"{role}-person")
        set_role(user, role)
        client = Client(**how)
        client.force_login(user)
        return client

    return make


@pytest.fixture
def admin(visitor: Callable[..., Client]) -> Client:
    return visitor(Role.ADMIN)


@pytest.fixture
def operator(visitor: Callable[..., Client]) -> Client:
    return visitor(Role.OPERATE)


@pytest.fixture
def viewer(visitor: Callable[..., Client]) -> Client:
    return visitor(Role.READ)


@pytest.fixture
def host(db: None) -> Host:
    """This host, with a recent heartbeat."""
    host = hosts.this_host()
    host.heartbeat_at = timezone.now()
    host.save()
    return host


@pytest.fixture
def program(host: Host) -> MakeProgram:
    """`program("web", State.RUNNING, cpu_percent=5.0, command=…)`: fields of the definition or of its process."""

    def make(name: str = "web", state: State = State.STOPPED, **fields: Any) -> Program:
        of_process = {key: fields.pop(key) for key in list(fields) if key in PROCESS_FIELDS}
        program = services.save_definition({"name": name, "command": "sleep 60", **fields}, actor="test").program
        wanted = Program.Desired.STOPPED if state is State.STOPPED else Program.Desired.RUNNING
        Program.objects.filter(pk=program.pk).update(desired_state=wanted)
        pid = {"pid": 1000 + program.pk, "started_at": timezone.now()} if state in ALIVE else {}
        values = {"definition_number": 1, "revision": Sequence.advance(), **pid, **of_process}
        Process.objects.create(program=program, index=0, state=state, **values)
        program.refresh_from_db()
        return program

    return make


PROCESS_FIELDS = {field.name for field in Process._meta.get_fields()} - {"program", "id"}
