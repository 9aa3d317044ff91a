"""A script: supervises the children in its JSON argument and stops them in that order."""

from __future__ import annotations

import json
import sys

from monitor_site.serving.children import ChildSpec
from monitor_site.serving.signals import Signals
from monitor_site.serving.supervisor import ChildSupervisor, configure_logging


def main() -> None:
    described = json.loads(sys.argv[1])
    configure_logging("console")
    supervisor = ChildSupervisor(
        [ChildSpec(**{**spec, "argv": tuple(spec["argv"])}) for spec in described],
        stop_order=[spec["name"] for spec in described],
        is_ready=lambda: True,
        on_ready=lambda: print("ready", flush=True),
        say=lambda line: print(line, flush=True),
    )
    with Signals() as signals:
        supervisor.run(signals)


if __name__ == "__main__":
    main()
