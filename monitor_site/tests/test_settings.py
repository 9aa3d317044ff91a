from __future__ import annotations

import os
import subprocess
import sys

from monitor_site.environment import BASE_DIR

LOAD_THE_AGENT = """
import sys
import manage
sys.modules |= dict.fromkeys(manage.UNNEEDED)
import django
from django.core.management import call_command
django.setup()
call_command("check")
import monitor_site.management.commands.agent
print({"ninja", "pydantic", "unfold", "channels", "django.contrib.admin", "aiohttp"} & {*sys.modules})
"""


def test_the_agent_and_djangos_checks_load_nothing_of_the_web() -> None:
    """It would be a quarter more memory for as long as the agent runs, and half as much again of its start."""
    environment = {**os.environ, "MONITOR_APPS": "lean", "DJANGO_SETTINGS_MODULE": "monitor_site.settings"}
    done = subprocess.run(
        [sys.executable, "-c", LOAD_THE_AGENT],
        cwd=BASE_DIR,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout.splitlines()[-1:] == ["set()"], done.stderr
