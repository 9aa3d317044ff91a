"""Chromium with a monitor that sends: agent, web server and jobs."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.conf import settings

from programs.tests.browser.conftest import chromium, passes, visit
from programs.tests.browser.stack import Stack

__all__ = ["chromium", "passes", "visit"]


class SendingStack(Stack):
    def start(self) -> None:
        super().start()
        self._parts["jobs"] = self._popen(str(settings.BASE_DIR / "manage.py"), "jobs")


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    stack = SendingStack(tmp_path_factory.mktemp("monitor"))
    try:
        stack.start()
        yield stack
    finally:
        stack.end()
