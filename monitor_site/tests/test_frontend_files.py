"""Files of the front end that no other tool checks."""

from __future__ import annotations

from pathlib import Path

import pytest
from django.conf import settings

LONGEST = 140
FOLDERS = ("static", "templates", "core/templates")
FILES = sorted(
    path
    for folder in FOLDERS
    for path in (settings.BASE_DIR / folder).rglob("*")
    if path.suffix in {".html", ".js", ".css"}
)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_no_line_is_too_long_to_review(path: Path) -> None:
    lines = path.read_text().splitlines()
    assert [number for number, line in enumerate(lines, start=1) if len(line) > LONGEST] == []
