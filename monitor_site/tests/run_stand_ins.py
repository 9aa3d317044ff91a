"""Run as a program: a supervisor over the parts that the JSON in its argument lists, stopped in that order."""

from __future__ import annotations

import json
import sys

from monitor_site.serving import log
from monitor_site.serving.children import Part
from monitor_site.serving.signals import Signals
from monitor_site.serving.supervisor import Supervisor


def main() -> None:
    described = json.loads(sys.argv[1])
    log.configure("console")
    supervisor = Supervisor(
        [Part(**{**part, "argv": tuple(part["argv"])}) for part in described],
        stop_order=[part["name"] for part in described],
        is_ready=lambda: True,
        on_ready=lambda: print("ready", flush=True),
        say=lambda line: print(line, flush=True),
    )
    with Signals() as signals:
        supervisor.run(signals)


if __name__ == "__main__":
    main()
