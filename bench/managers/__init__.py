"""The process managers by their name on the command line, in the order of the table's columns."""

from __future__ import annotations

from bench.managers.bare_loop import BareLoop
from bench.managers.base import ProcessManager
from bench.managers.circus import Circus
from bench.managers.ours import Ours
from bench.managers.pm2 import PM2
from bench.managers.supervisor import Supervisor

MANAGERS: dict[str, type[ProcessManager]] = {
    "ours": Ours,
    "supervisor": Supervisor,
    "circus": Circus,
    "pm2": PM2,
    "bare-loop": BareLoop,
}
