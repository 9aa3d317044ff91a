"""A script: `manage.py agent` with one more service that fails at each start."""

from __future__ import annotations

import asyncio
from typing import Any

import django

django.setup()

from django.core.management import call_command  # noqa: E402

from core import errors  # noqa: E402
from monitor_site import agent  # noqa: E402

real_services = agent._services


async def fail(stop: asyncio.Event) -> None:
    await asyncio.sleep(0)
    raise LookupError("nothing to be found")


def services_with_a_failing_one(supervisor: Any) -> dict[str, Any]:
    return {**real_services(supervisor), "faulty": fail}


if __name__ == "__main__":
    agent._services = services_with_a_failing_one
    errors.install("agent")
    call_command("agent")
