"""Run as a program: `manage.py agent` with one more service, which fails whenever it is started."""

from __future__ import annotations

import asyncio
from typing import Any

import django

django.setup()

from django.core.management import call_command  # noqa: E402

from core import errors  # noqa: E402
from monitor_site import agent  # noqa: E402

services_of = agent._services


async def fail(stop: asyncio.Event) -> None:
    await asyncio.sleep(0)
    raise LookupError("nothing to be found")


def with_a_failing_one(supervisor: Any) -> dict[str, Any]:
    return {**services_of(supervisor), "faulty": fail}


if __name__ == "__main__":
    agent._services = with_a_failing_one
    errors.begin("agent")
    call_command("agent")
