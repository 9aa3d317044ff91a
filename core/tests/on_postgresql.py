"""Runs the tests of queries and rows on a PostgreSQL of their own; those that start processes are left out.

usage: python -m core.tests.on_postgresql [options and paths of pytest]
"""

from __future__ import annotations

import os
import subprocess
import sys

from .servers import postgresql


def main(arguments: list[str]) -> int:
    with postgresql() as url:
        environment = {**os.environ, "MONITOR_TEST_DATABASE_URL": url, "MONITOR_TEST_ROWS_ONLY": "1"}
        # The databases go with their server; threads that still hold a connection need not be waited for.
        command = [sys.executable, "-m", "pytest", "--reuse-db", *arguments]
        return subprocess.run(command, env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
